/**
 * The worker's stock of started, unused sandboxes. A sandbox is leased once and never comes back. A job gets, in this
 * order: a ready one of its shape; a ready one of the first shape, changed to its limits where the engine can; the
 * next that is made, whether it was meant for the stock or for a job, after those who have waited longer.
 *
 * | state    | meaning                                      | entered by           |
 * | -------- | -------------------------------------------- | -------------------- |
 * | FILLING  | some stock is below its target               | start, lease, a loss |
 * | READY    | every stock is at its target                 | the last creation    |
 * | DRAINING | no lease, no creation; what is left goes     | stop()               |
 * | CLOSED   | everything this pool made is confirmed gone  | the last removal     |
 *
 * When a creation fails, the job that waited longest is told at once, and its stock is filled again after a pause.
 */
import type { Log } from '../../../shared/log.ts';
import {
  asUnavailable,
  type Sandbox,
  type SandboxEngine,
  SandboxUnavailableError,
  type Shape,
} from '../sandbox/sandbox.ts';
import type { EngineGate } from './gate.ts';
import { createMaker, type Maker } from './maker.ts';
import type { Remover } from './remover.ts';
import type { Stock } from './stock.ts';
import { Stocks, type StocksFigures } from './stocks.ts';
import type { Uids } from './uids.ts';

/** By then a short job has its answer, and need not share the cores with the making of the next sandbox. */
const FILL_AFTER_LEASE_MS = 40;
const UPKEEP_MS = 5_000;

export type PoolState = 'FILLING' | 'READY' | 'DRAINING' | 'CLOSED';

export interface PoolOptions {
  readonly engine: SandboxEngine;
  readonly gate: EngineGate;
  readonly remover: Remover;
  readonly uids: Uids;
  /** Sandboxes kept ready of each shape in use, at least. */
  readonly target: number;
  /** Sandboxes kept ready of all shapes together, at most. */
  readonly maxReady: number;
  /** The shape that is kept ready from the start. */
  readonly firstShape: Shape;
  readonly maxAgeMs: number;
  /** How long past its lease a sandbox may live at most. */
  readonly maxLifeMs: number;
  readonly log: Log;
  readonly onCreated?: (ms: number) => void;
  /** A job has to wait for a creation. */
  readonly onMiss?: () => void;
  /** Called when it changes whether sandboxes can be made. */
  readonly onEngineState?: (isFailing: boolean) => void;
}

export interface PoolFigures extends StocksFigures {
  readonly state: PoolState;
  readonly leased: number;
  readonly removing: number;
  readonly engineFailing: boolean;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #maker: Maker;
  readonly #stocks: Stocks;
  readonly #leased = new Set<Sandbox>();
  #state: PoolState = 'FILLING';
  #isEngineFailing = false;
  #upkeep: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;
  #fillTimer: NodeJS.Timeout | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    const { engine, firstShape, maxReady, maxAgeMs, maxLifeMs } = options;
    this.#maker = createMaker({ ...options, lifeMs: maxAgeMs + maxLifeMs });
    this.#stocks = new Stocks({
      firstShape,
      floor: options.target,
      maxReady,
      maxAgeMs,
      canBecome: (from, to) => engine.canBecome(from, to),
      discard: (sandbox) => this.#maker.discard(sandbox),
    });
  }

  start(): void {
    this.#upkeep = setInterval(() => {
      this.#stocks.keepUp(UPKEEP_MS);
      this.#fillAll();
    }, UPKEEP_MS);
    this.#upkeep.unref();
    this.#fillAll();
  }

  readonly figures = (): PoolFigures => ({
    ...this.#stocks.figures(),
    state: this.#state,
    leased: this.#leased.size,
    removing: this.#options.remover.pending,
    engineFailing: this.#isEngineFailing,
  });

  readonly isEngineFailing = (): boolean => this.#isEngineFailing;

  readonly owns = (nonce: string): boolean => this.#maker.owns(nonce);

  /** A sandbox of this shape for one job. */
  async lease(shape: Shape): Promise<Sandbox> {
    const stock = this.#stocks.of(shape);
    const sandbox = stock.take() ?? (await this.#changed(stock)) ?? (await this.#next(stock));
    this.#leased.add(sandbox);
    this.#fillSoon();
    return sandbox;
  }

  readonly hasReady = (shape: Shape): boolean => this.#stocks.of(shape).ready > 0;

  /** The lease is over: the sandbox is removed in the background. */
  retire(sandbox: Sandbox): void {
    if (!this.#leased.delete(sandbox)) {
      if (this.#stopping !== undefined) return; // the drain was over before its job was
      throw new Error(`The sandbox ${sandbox.id} was retired but is not leased.`);
    }
    this.#maker.discard(sandbox);
  }

  /** Lets everything go; resolves when the engine has confirmed that it is gone. */
  stop(): Promise<void> {
    this.#stopping ??= this.#drain();
    return this.#stopping;
  }

  get #isEnding(): boolean {
    return this.#state === 'DRAINING' || this.#state === 'CLOSED';
  }

  async #drain(): Promise<void> {
    this.#state = 'DRAINING';
    clearInterval(this.#upkeep);
    clearTimeout(this.#fillTimer);
    const reason = new SandboxUnavailableError('the pool is draining');
    for (const stock of this.#stocks.all()) stock.close(reason);
    this.#maker.close(reason);
    await this.#options.gate.onIdle();
    for (const sandbox of this.#leased) {
      sandbox.disconnect(); // a job may still run in it
      this.#maker.discard(sandbox);
    }
    this.#leased.clear();
    await this.#options.remover.stop();
    this.#state = 'CLOSED';
  }

  /** A ready sandbox of the first shape under the limits of this one; undefined where that cannot be had. */
  async #changed(stock: Stock): Promise<Sandbox | undefined> {
    const { engine, log } = this.#options;
    const { first } = this.#stocks;
    const sandbox = this.#stocks.canLend(first, stock) ? first.take() : undefined;
    if (sandbox === undefined) return undefined;
    this.#leased.add(sandbox);
    this.#fillSoon();
    try {
      const changed = await engine.update(sandbox, stock.shape);
      first.changes.succeed();
      // Not leased any more: the drain was faster, and has let it go.
      if (!this.#leased.delete(sandbox)) return undefined;
      this.#leased.add(changed);
      return changed;
    } catch (error) {
      log.warn({ err: error, runtime: first.shape.runtime }, 'the limits could not be changed');
      first.changes.fail();
      if (this.#leased.delete(sandbox)) this.#maker.discard(sandbox);
      return undefined;
    }
  }

  #next(stock: Stock): Promise<Sandbox> {
    if (this.#isEnding) throw new SandboxUnavailableError(`the pool is ${this.#state}`);
    this.#options.onMiss?.();
    const next = stock.wait();
    this.#stocks.missed(stock);
    this.#fill(stock);
    return next;
  }

  #fillSoon(): void {
    this.#fillTimer ??= setTimeout(() => {
      this.#fillTimer = undefined;
      this.#fillAll();
    }, FILL_AFTER_LEASE_MS);
  }

  #fillAll(): void {
    for (const stock of this.#stocks.all()) this.#fill(stock);
  }

  #fill(stock: Stock): void {
    if (this.#isEnding) return;
    // A job that waits has its sandbox made even while the stock pauses: it must learn how the engine is.
    const target = stock.backoff.isPaused ? 0 : this.#stocks.targetOf(stock);
    for (let left = stock.missing(target); left > 0; left--) void this.#make(stock);
    this.#state = this.#stocks.areFull() ? 'READY' : 'FILLING';
  }

  async #make(stock: Stock): Promise<void> {
    const isAwaited = stock.creatingFirst < stock.waiting;
    stock.creating++;
    if (isAwaited) stock.creatingFirst++;
    try {
      const { sandbox, tookMs } = await this.#maker.make(stock.shape, isAwaited);
      stock.backoff.succeed();
      stock.tookToMake(tookMs);
      this.#options.onCreated?.(tookMs);
      this.#onMade(stock, sandbox);
    } catch (error) {
      if (this.#isEnding) return;
      this.#options.log.warn({ err: error, image: stock.shape.image }, 'a sandbox was not made');
      setTimeout(() => this.#fill(stock), stock.backoff.fail()).unref();
      stock.failOne(asUnavailable(error));
    } finally {
      stock.creating--;
      if (isAwaited) stock.creatingFirst--;
      this.#judgeEngine();
      this.#fill(stock);
    }
  }

  #judgeEngine(): void {
    const isFailing = this.#stocks.areFailing();
    if (isFailing === this.#isEngineFailing) return;
    this.#isEngineFailing = isFailing;
    this.#options.onEngineState?.(isFailing);
  }

  #onMade(stock: Stock, sandbox: Sandbox): void {
    if (this.#isEnding) return this.#maker.discard(sandbox);
    stock.add(sandbox);
    void sandbox.closed.then(() => {
      if (!stock.drop(sandbox)) return;
      this.#options.log.warn({ sandbox: sandbox.id.slice(0, 12) }, 'a ready sandbox went away');
      this.#fill(stock);
    });
  }
}
