/** An installation, and what happens to it one step at a time: one message, one answer, or the next timer. */
import type { Scheduler } from 'fast-check';
import { keys } from '../../../shared/queue/keys.ts';
import { type Server as ApiServer, Client, jobOf, type Wish } from './client.ts';
import { type Clock, settle } from './clock.ts';
import type { Connection, Server } from './connection.ts';
import { Host } from './engine.ts';
import { type ApiProcess, startApi, startWorker, type WorkerProcess } from './processes.ts';
import { type Lane, laneOf } from './queue.ts';
import { Records } from './records.ts';
import { Mortal, Wire } from './wire.ts';
import { Witness } from './witness.ts';

/** What watches over processes starts a new one so long after one has died. */
const RESTART_MS = 2_000;

/** What settling and beginning answer to those who come too late. */
const REFUSALS = new Set(['fenced', 'already_done', 'not_wanted', 'exhausted']);

/** While messages are under way, time has to come up so often more to pass. */
const MESSAGES_A_TIMER = 3;

export interface WorkerSlot {
  readonly mortal: Mortal;
  process: WorkerProcess | undefined;
  isDraining: boolean;
}

export class World {
  readonly clock: Clock;
  readonly wire: Wire;
  readonly witness: Witness;
  readonly records: Records;
  readonly host: Host;
  readonly clients: Client[] = [];
  readonly workers: WorkerSlot[] = [];
  readonly slots: number;
  readonly #scheduler: Scheduler;
  readonly #redis: Server;
  #api: ApiServer;
  #names = 0;
  steps = 0;

  constructor(
    scheduler: Scheduler,
    clock: Clock,
    { workers, slots }: { workers: number; slots: number },
  ) {
    this.clock = clock;
    this.slots = slots;
    this.#scheduler = scheduler;
    this.wire = new Wire(scheduler);
    this.witness = new Witness(() => clock.elapsedMs);
    const subscribers = new Set<Connection>();
    const publish = (channel: string, message: string): void => {
      for (const one of subscribers) one.hear(channel, message);
    };
    this.records = new Records({ nowMs: () => clock.redisMs, publish }, this.witness);
    const onReply = (reply: unknown): void => {
      const [as] = Array.isArray(reply) ? reply : [];
      if (REFUSALS.has(as)) this.records.refused.push(as);
    };
    const scripts = new Map<string, string>();
    this.#redis = { wire: this.wire, store: this.records, scripts, subscribers, onReply };
    this.host = new Host(this.wire, this.witness);
    this.#api = this.#newApi();
    for (let at = 0; at < workers; at++) this.startWorker();
    void this.#letTimePass();
  }

  get queue(): Lane {
    return laneOf(this.#redis, 'interactive');
  }

  get api(): ApiProcess {
    return this.#api.api;
  }

  submit(wish: Wish): Client {
    const client = new Client(`key ${this.clients.length}`, wish, () => this.#api);
    this.clients.push(client);
    void client.submit();
    return client;
  }

  startWorker(): void {
    const mortal = new Mortal(`worker-${++this.#names}`);
    const slot: WorkerSlot = { mortal, process: undefined, isDraining: false };
    this.workers.push(slot);
    const parts = { server: this.#redis, host: this.host, slots: this.slots };
    void startWorker(mortal, parts).then((process) => {
      slot.process = process;
    });
  }

  /** Those that live and are to go on. */
  get living(): WorkerSlot[] {
    return this.workers.filter(({ mortal, isDraining }) => !mortal.isDead && !isDraining);
  }

  killWorker(slot: WorkerSlot, arrive: number): void {
    slot.mortal.die(arrive);
    setTimeout(() => this.startWorker(), RESTART_MS);
  }

  /** As SIGTERM does; another takes its place. */
  drainWorker(slot: WorkerSlot): void {
    if (slot.process === undefined) return this.killWorker(slot, 0);
    slot.isDraining = true;
    void slot.process.lifecycle.stop().then(() => slot.mortal.die(0));
    this.startWorker();
  }

  killApi(): void {
    this.#api.mortal.die(0);
    this.#api = this.#newApi();
  }

  /** One step at a time until it is so; false when it is not after so long. */
  async runUntil(isSo: () => boolean, withinMs: number, before?: () => void): Promise<boolean> {
    const untilMs = this.clock.elapsedMs + withinMs;
    await settle();
    while (!isSo()) {
      if (this.clock.elapsedMs > untilMs) return false;
      before?.();
      this.steps++;
      await this.#scheduler.waitNext(1);
      await settle();
    }
    return true;
  }

  /** Every job of which anybody was told, or that is in Redis all the same. */
  jobs(): string[] {
    const prefix = keys.job('');
    return this.records
      .keys()
      .filter((key) => key.startsWith(prefix))
      .map((key) => key.slice(prefix.length));
  }

  #newApi(): ApiServer {
    const mortal = new Mortal(`api-${++this.#names}`);
    return { mortal, api: startApi(mortal, { server: this.#redis, jobOf }) };
  }

  async #letTimePass(): Promise<void> {
    for (;;) {
      await this.wire.turn('time passes');
      // A message takes a few timers, not most of a second each: else every limit of the product would be over.
      for (let at = 0; at < MESSAGES_A_TIMER && this.#scheduler.count() > 0; at++) {
        await this.wire.turn('time waits');
      }
      this.clock.next();
    }
  }
}
