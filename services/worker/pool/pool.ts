/**
 * The worker's stock of started, unused sandboxes: one stock for each shape that jobs ask for. A sandbox is leased
 * once and never comes back. There is one way to make a sandbox, ahead of need or for a job that waits: whichever is
 * ready first serves the job that has waited longest.
 *
 * | state    | meaning                                      | entered by           |
 * | -------- | -------------------------------------------- | -------------------- |
 * | FILLING  | some stock is below its target               | start, lease, a loss |
 * | READY    | every stock is at its target                 | the last creation    |
 * | DRAINING | no lease, no creation; what is left goes     | stop()               |
 * | CLOSED   | everything this pool made is confirmed gone  | the last removal     |
 *
 * When a creation fails, the job that waited longest is told at once, and its stock is filled again after a pause that
 * grows.
 */
import { randomBytes } from 'node:crypto';
import type { Log } from '../../../shared/log.ts';
import {
  asUnavailable,
  type Sandbox,
  type SandboxEngine,
  SandboxUnavailableError,
  type Shape,
  shapeKey,
} from '../sandbox/sandbox.ts';
import type { EngineGate } from './gate.ts';
import type { Remover } from './remover.ts';
import { Stock } from './stock.ts';
import type { Uids } from './uids.ts';

/** A stock that no job asked of for so long is let go. */
const IDLE_STOCK_MS = 300_000;
/** Beside the first, so many shapes have a stock: a caller who asks for ever new ones must not fill the host. */
const KEPT_SHAPES = 4;
const FILL_AFTER_LEASE_MS = 10;
const UPKEEP_MS = 5_000;

export type PoolState = 'FILLING' | 'READY' | 'DRAINING' | 'CLOSED';

export interface PoolOptions {
  readonly engine: SandboxEngine;
  readonly gate: EngineGate;
  readonly remover: Remover;
  readonly uids: Uids;
  /** Sandboxes kept ready of each shape in use. */
  readonly target: number;
  /** The shape that is kept ready from the start. */
  readonly firstShape: Shape;
  readonly maxAgeMs: number;
  /** How long past its lease a sandbox may live at most. */
  readonly maxLifeMs: number;
  readonly log: Log;
  readonly onCreated?: (ms: number) => void;
}

export interface PoolFigures {
  readonly state: PoolState;
  readonly ready: number;
  readonly creating: number;
  readonly leased: number;
  readonly removing: number;
  readonly engineFailing: boolean;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #stocks = new Map<string, Stock>();
  readonly #leased = new Set<Sandbox>();
  /** Nonces of everything made or being made here, until it is confirmed gone: what the sweep leaves alone. */
  readonly #owned = new Set<string>();
  #state: PoolState = 'FILLING';
  #upkeep: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;
  #fillTimer: NodeJS.Timeout | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stockOf(this.#options.firstShape);
    this.#upkeep = setInterval(() => this.#keepUp(), UPKEEP_MS);
    this.#upkeep.unref();
    this.#fillAll();
  }

  figures(): PoolFigures {
    const stocks = [...this.#stocks.values()];
    return {
      state: this.#state,
      ready: stocks.reduce((sum, stock) => sum + stock.ready, 0),
      creating: stocks.reduce((sum, stock) => sum + stock.creating, 0),
      leased: this.#leased.size,
      removing: this.#options.remover.pending,
      engineFailing: stocks.length > 0 && stocks.every((stock) => stock.backoff.isFailing),
    };
  }

  readonly isEngineFailing = (): boolean => this.figures().engineFailing;

  owns(nonce: string): boolean {
    return this.#owned.has(nonce);
  }

  /** A sandbox of this shape for one job: a ready one, else the next that is made. */
  async lease(shape: Shape): Promise<Sandbox> {
    if (this.#state === 'DRAINING' || this.#state === 'CLOSED') {
      throw new SandboxUnavailableError(`the pool is ${this.#state}`);
    }
    const stock = this.#stockOf(shape);
    const ready = stock.take();
    const next = ready ?? stock.wait();
    if (ready === undefined) this.#fill(stock);
    const sandbox = await next;
    this.#leased.add(sandbox);
    this.#fillSoon();
    return sandbox;
  }

  /** The lease is over: the sandbox is removed in the background. */
  retire(sandbox: Sandbox): void {
    if (!this.#leased.delete(sandbox)) {
      if (this.#stopping !== undefined) return; // the drain was over before its job was
      throw new Error(`The sandbox ${sandbox.id} was retired but is not leased.`);
    }
    // A moment later: whoever waits for the result that was just published must not wait for this.
    setImmediate(() => this.#discard(sandbox));
  }

  /** Lets everything go; resolves when the engine has confirmed that it is gone. */
  stop(): Promise<void> {
    this.#stopping ??= this.#drain();
    return this.#stopping;
  }

  async #drain(): Promise<void> {
    this.#state = 'DRAINING';
    clearInterval(this.#upkeep);
    clearTimeout(this.#fillTimer);
    const reason = new SandboxUnavailableError('the pool is draining');
    for (const stock of this.#stocks.values()) stock.close(reason);
    await this.#options.gate.onIdle();
    for (const sandbox of this.#leased) this.#discard(sandbox);
    this.#leased.clear();
    await new Promise((resolve) => setImmediate(resolve));
    await this.#options.remover.stop();
    this.#state = 'CLOSED';
  }

  #stockOf(shape: Shape): Stock {
    const key = shapeKey(shape);
    let stock = this.#stocks.get(key);
    if (stock === undefined) {
      stock = new Stock(shape, this.#options.maxAgeMs, (sandbox) => this.#discard(sandbox));
      this.#stocks.set(key, stock);
      setImmediate(() => this.#keepUp());
    }
    return stock;
  }

  #targetOf(stock: Stock): number {
    const { firstShape, target } = this.#options;
    if (stock.shape === firstShape) return target;
    if (Date.now() - stock.usedAtMs >= IDLE_STOCK_MS) return 0;
    const newer = [...this.#stocks.values()].filter((one) => one.usedAtMs > stock.usedAtMs).length;
    return newer < KEPT_SHAPES ? target : 0;
  }

  /** Making a sandbox costs this process a millisecond that the job that was just leased to has better use for. */
  #fillSoon(): void {
    this.#fillTimer ??= setTimeout(() => {
      this.#fillTimer = undefined;
      this.#fillAll();
    }, FILL_AFTER_LEASE_MS);
  }

  #fillAll(): void {
    for (const stock of this.#stocks.values()) this.#fill(stock);
  }

  #fill(stock: Stock): void {
    if (this.#state === 'DRAINING' || this.#state === 'CLOSED') return;
    // A job that waits has its sandbox made even while the stock pauses: it must learn how the engine is.
    const target = stock.backoff.isPaused ? 0 : this.#targetOf(stock);
    for (let left = stock.missing(target); left > 0; left--) void this.#make(stock);
    this.#state = this.#isFull() ? 'READY' : 'FILLING';
  }

  #isFull(): boolean {
    return [...this.#stocks.values()].every(
      (stock) => stock.creating === 0 && stock.ready >= this.#targetOf(stock),
    );
  }

  async #make(stock: Stock): Promise<void> {
    const { engine, gate, uids, maxAgeMs, maxLifeMs, log } = this.#options;
    stock.creating++;
    const nonce = randomBytes(16).toString('hex');
    this.#owned.add(nonce);
    let uid: number | undefined;
    let orderedAtMs = 0;
    try {
      const sandbox = await gate.create(stock.waiting > 0, () => {
        uid = uids.take();
        orderedAtMs = Date.now();
        const deadlineMs = orderedAtMs + maxAgeMs + maxLifeMs;
        return engine.create({ shape: stock.shape, uid, nonce, deadlineMs });
      });
      stock.backoff.succeed();
      this.#options.onCreated?.(Date.now() - orderedAtMs);
      this.#onMade(stock, sandbox);
    } catch (error) {
      log.warn({ err: error, image: stock.shape.image }, 'a sandbox could not be made');
      // The engine has tried to remove what it half made; the uid is free once that is confirmed.
      const forget = (): boolean => this.#owned.delete(nonce);
      if (uid === undefined) forget();
      else this.#options.remover.remove({ nonce, uid }, forget);
      setTimeout(() => this.#fill(stock), stock.backoff.fail()).unref();
      stock.failOne(asUnavailable(error));
    } finally {
      stock.creating--;
      this.#fill(stock);
    }
  }

  #onMade(stock: Stock, sandbox: Sandbox): void {
    if (this.#state === 'DRAINING') return this.#discard(sandbox);
    stock.add(sandbox);
    void sandbox.closed.then(() => {
      if (!stock.drop(sandbox)) return;
      this.#options.log.warn({ sandbox: sandbox.id.slice(0, 12) }, 'a ready sandbox went away');
      this.#fill(stock);
    });
  }

  #discard(sandbox: Sandbox): void {
    sandbox.disconnect();
    this.#options.remover.remove(sandbox, () => this.#owned.delete(sandbox.nonce));
  }

  /** Replaces what is old, lets go what nobody asks for. */
  #keepUp(): void {
    for (const [key, stock] of this.#stocks) {
      const keep = this.#targetOf(stock);
      stock.trim(keep);
      if (keep + stock.creating + stock.waiting === 0) this.#stocks.delete(key);
      else this.#fill(stock);
    }
  }
}
