/**
 * What stands in for the queue's library: its promises as the product uses them, over the connection it is given. At
 * least once, under a lock that is renewed; what stalled comes again once, then is given up. Locks run by Redis's clock.
 */
import { EventEmitter } from 'node:events';
import type { Lane as LaneName } from '../../../shared/contract/lane.ts';
import { lockKey } from '../../../shared/queue/options.ts';
import type { Connection, Server } from './connection.ts';
import type { Store } from './store.ts';

export class DelayedError extends Error {}

interface Waiting {
  readonly id: string;
  readonly priority: number;
}

interface Active extends Waiting {
  readonly token: string;
}

/** One lane, inside of Redis. */
export class Lane {
  readonly #store: Store;
  readonly #lockOf: (id: string) => string;
  readonly #stalls = new Map<string, number>();
  readonly #wakes = new Set<() => void>();
  waiting: Waiting[] = [];
  delayed: (Waiting & { readonly untilMs: number })[] = [];
  active: Active[] = [];
  #tokens = 0;

  constructor(store: Store, lockOf: (id: string) => string) {
    this.#store = store;
    this.#lockOf = lockOf;
  }

  onWork(wake: () => void): void {
    this.#wakes.add(wake);
  }

  add(one: Waiting): void {
    const isThere = [this.waiting, this.delayed, this.active].some((all) =>
      all.some(({ id }) => id === one.id),
    );
    if (isThere) return;
    this.enqueue(one);
  }

  /** As an entry of its own, whatever there is: what a duplicated delivery looks like. */
  enqueue(one: Waiting): void {
    this.waiting.push({ id: one.id, priority: one.priority });
    for (const wake of this.#wakes) wake();
  }

  hasWork(): boolean {
    this.#promote();
    return this.waiting.length > 0;
  }

  take(lockMs: number): Active | undefined {
    this.#promote();
    const least = Math.min(...this.waiting.map(({ priority }) => priority));
    const at = this.waiting.findIndex(({ priority }) => priority === least);
    const [next] = at < 0 ? [] : this.waiting.splice(at, 1);
    if (next === undefined) return undefined;
    const token = `lock ${++this.#tokens}`;
    const taken = { ...next, token };
    this.active.push(taken);
    this.#lock(taken, lockMs);
    return taken;
  }

  renew(tokens: readonly string[], lockMs: number): Set<string> {
    const held = this.active.filter((one) => tokens.includes(one.token) && this.#isLocked(one));
    for (const one of held) this.#lock(one, lockMs);
    return new Set(held.map(({ token }) => token));
  }

  /** Out of the queue, or back into it later; refused without the lock. */
  leave(token: string, backAtMs?: number): void {
    const at = this.active.findIndex((one) => one.token === token && this.#isLocked(one));
    const one = this.active[at];
    if (one === undefined) throw new Error(`Missing lock ${token}.`);
    this.active.splice(at, 1);
    this.#store.delete(this.#lockOf(one.id));
    this.#stalls.delete(one.id);
    if (backAtMs === undefined) return;
    this.delayed.push({ ...one, untilMs: backAtMs });
    this.#promoteAt(backAtMs);
  }

  /** Puts back what nobody holds any more; answers what stalled too often, which is gone. */
  checkStalled(most: number): string[] {
    const stalled = this.active.filter((one) => !this.#isLocked(one));
    this.active = this.active.filter((one) => this.#isLocked(one));
    return stalled.flatMap((one) => {
      const times = (this.#stalls.get(one.id) ?? 0) + 1;
      this.#stalls.set(one.id, times);
      if (times > most) return [one.id];
      this.enqueue(one);
      return [];
    });
  }

  #lock({ id, token }: Active, lockMs: number): void {
    this.#store.set(this.#lockOf(id), token, this.#store.nowMs + lockMs);
  }

  #isLocked({ id, token }: Active): boolean {
    return this.#store.get(this.#lockOf(id)) === token;
  }

  /** By then the clocks may have been set back. */
  #promoteAt(untilMs: number): void {
    const look = (): void => (Date.now() < untilMs ? this.#promoteAt(untilMs) : this.#promote());
    setTimeout(look, Math.max(0, untilMs - Date.now()));
  }

  #promote(): void {
    // The library goes by the clock of whoever asks.
    const due = this.delayed.filter(({ untilMs }) => untilMs <= Date.now());
    if (due.length === 0) return;
    this.delayed = this.delayed.filter((one) => !due.includes(one));
    for (const one of due) this.enqueue(one);
  }
}

const lanes = new WeakMap<Server, Map<string, Lane>>();

export function laneOf(server: Server, name: LaneName): Lane {
  const own = lanes.get(server) ?? new Map<string, Lane>();
  lanes.set(server, own);
  const lane = own.get(name) ?? new Lane(server.store, (id) => lockKey(name, id));
  own.set(name, lane);
  return lane;
}

export class Queue extends EventEmitter {
  readonly #connection: Connection;
  readonly #lane: Lane;

  constructor(name: LaneName, { connection }: { connection: Connection }) {
    super();
    this.#connection = connection;
    this.#lane = laneOf(connection.server, name);
  }

  add(_name: string, _data: object, opts: { jobId: string; priority: number }): Promise<void> {
    const entry = { id: opts.jobId, priority: opts.priority };
    return this.#connection.send('queue add', () => this.#lane.add(entry));
  }

  async addBulk(jobs: { opts: { jobId: string; priority: number } }[]): Promise<void> {
    await Promise.all(jobs.map(({ opts }) => this.add('', {}, opts)));
  }

  async close(): Promise<void> {}
}

interface WorkerOptions {
  readonly connection: Connection;
  readonly concurrency: number;
  readonly lockDuration: number;
  readonly stalledInterval: number;
  readonly maxStalledCount: number;
}

type Processor = (job: object, token: string) => Promise<void>;

export class Worker extends EventEmitter {
  concurrency: number;
  readonly #lane: Lane;
  readonly #process: Processor;
  readonly #options: WorkerOptions;
  /** Token → id. */
  readonly #held = new Map<string, string>();
  readonly #timers: NodeJS.Timeout[];
  #isTaking = false;
  #isPaused = false;
  #onIdle: () => void = () => {};

  constructor(name: LaneName, process: Processor, options: WorkerOptions) {
    super();
    this.#options = options;
    this.#process = process;
    this.concurrency = options.concurrency;
    this.#lane = laneOf(options.connection.server, name);
    this.#lane.onWork(() => void this.#take());
    this.#timers = [
      setInterval(() => void this.#renew(), options.lockDuration / 2),
      setInterval(() => void this.#checkStalled(), options.stalledInterval),
    ];
    options.connection.owner.onDeath(() => this.#stopTimers());
    void this.#take();
  }

  async pause(): Promise<void> {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    void this.#take();
  }

  async close(): Promise<void> {
    this.#isPaused = true;
    if (this.#held.size > 0 || this.#isTaking) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    this.#stopTimers();
  }

  async #take(): Promise<void> {
    const { connection, lockDuration } = this.#options;
    if (this.#isTaking || this.#isPaused || this.#held.size >= this.concurrency) return;
    if (connection.owner.isDead || !this.#lane.hasWork()) return;
    this.#isTaking = true;
    const taken = await connection.send('queue take', () => this.#lane.take(lockDuration));
    this.#isTaking = false;
    if (taken !== undefined) void this.#run(taken);
    else if (this.#held.size === 0) this.#onIdle();
    void this.#take();
  }

  async #run({ id, token }: Active): Promise<void> {
    const { connection } = this.#options;
    const leave = (label: string, backAtMs?: number): Promise<void> =>
      connection.send(label, () => this.#lane.leave(token, backAtMs));
    this.#held.set(token, id);
    const job = { id, moveToDelayed: (ms: number) => leave('queue delay', ms) };
    try {
      await this.#process(job, token);
      await leave('queue complete');
    } catch (error) {
      if (!(error instanceof DelayedError)) await this.#fail(job, error, leave);
    }
    this.#held.delete(token);
    if (this.#held.size === 0 && !this.#isTaking) this.#onIdle();
    void this.#take();
  }

  async #fail(job: object, error: unknown, leave: (label: string) => Promise<void>): Promise<void> {
    try {
      await leave('queue fail');
      this.emit('failed', job, error);
    } catch (lost) {
      this.emit('error', lost);
    }
  }

  async #renew(): Promise<void> {
    const { connection, lockDuration } = this.#options;
    const held = [...this.#held];
    if (held.length === 0) return;
    const tokens = held.map(([token]) => token);
    const ours = await connection.send('queue renew', () => this.#lane.renew(tokens, lockDuration));
    const idsOf = (isOurs: boolean): string[] =>
      held
        .filter(([token]) => this.#held.has(token) && ours.has(token) === isOurs)
        .map(([, id]) => id);
    this.emit('locksRenewed', { jobIds: idsOf(true) });
    const gone = idsOf(false);
    if (gone.length > 0) this.emit('lockRenewalFailed', gone);
  }

  async #checkStalled(): Promise<void> {
    const { connection, maxStalledCount } = this.#options;
    const failed = await connection.send('queue check', () =>
      this.#lane.checkStalled(maxStalledCount),
    );
    for (const id of failed) this.emit('failed', { id }, new Error('stalled too often'));
  }

  #stopTimers(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }
}
