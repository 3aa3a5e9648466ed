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
import {
  asUnavailable,
  type Sandbox,
  SandboxUnavailableError,
  type Shape,
} from '../sandbox/sandbox.ts';
import { createEngineState, type EngineState } from './engine-state.ts';
import { createMaker, type Maker } from './maker.ts';
import type { PoolOptions } from './pool-options.ts';
import type { Stock } from './stock.ts';
import { Stocks, type StocksFigures } from './stocks.ts';

/** By then a short job has its answer, and need not share the cores with the making of the next sandbox. */
const FILL_AFTER_LEASE_MS = 40;
const UPKEEP_MS = 5_000;

export type PoolState = 'FILLING' | 'READY' | 'DRAINING' | 'CLOSED';

export interface PoolFigures extends StocksFigures {
  readonly state: PoolState;
  readonly leased: number;
  readonly removing: number;
  /** Of those that are being removed, those that could not be so far. */
  readonly quarantined: number;
  readonly engineFailing: boolean;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #maker: Maker;
  readonly #stocks: Stocks;
  readonly #engine: EngineState;
  readonly #leased = new Set<Sandbox>();
  #state: PoolState = 'FILLING';
  #upkeep: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;
  #fillTimer: NodeJS.Timeout | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    const { engine, firstShape, maxReady, maxAgeMs, maxLifeMs } = options;
    this.#maker = createMaker({
      ...options,
      lifeMs: maxAgeMs + maxLifeMs,
      require: () => this.#engine.requireRoom(),
    });
    this.#stocks = new Stocks({
      firstShape,
      floor: options.target,
      maxReady,
      maxAgeMs,
      canBecome: (from, to) => engine.canBecome(from, to),
      discard: (sandbox) => this.#maker.discard(sandbox),
    });
    this.#engine = createEngineState(options, this.#stocks);
  }

  start(): void {
    this.#upkeep = setInterval(() => {
      this.#stocks.keepUp(UPKEEP_MS);
      this.#fillAll();
      this.#engine.judge();
    }, UPKEEP_MS);
    this.#upkeep.unref();
    this.#options.watch.onChange(() => this.#onVoice());
    this.#fillAll();
  }

  readonly figures = (): PoolFigures => ({
    ...this.#stocks.figures(),
    state: this.#state,
    leased: this.#leased.size,
    removing: this.#options.remover.pending,
    quarantined: this.#options.remover.quarantined,
    engineFailing: this.#engine.isFailing(),
  });

  readonly isEngineFailing = (): boolean => this.#engine.isFailing();

  /** Throws a SandboxUnavailableError where even a sandbox that lives is of no use. */
  readonly requireStreams = (): void => this.#engine.requireStreams();

  readonly owns = (nonce: string): boolean => this.#maker.owns(nonce);

  /** A sandbox of this shape for one job. */
  async lease(shape: Shape): Promise<Sandbox> {
    this.requireStreams();
    const stock = this.#stocks.of(shape);
    const sandbox = stock.take() ?? (await this.#changed(stock)) ?? (await this.#next(stock));
    this.#leased.add(sandbox);
    this.#fillSoon();
    this.#engine.judge();
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
      this.#engine.judge();
      this.#fill(stock);
    }
  }

  /** What failed while the engine was silent says nothing of it once it answers. */
  #onVoice(): void {
    if (!this.#options.watch.isSilent()) {
      for (const { backoff } of this.#stocks.all()) backoff.forget();
    }
    this.#engine.judge();
    this.#fillAll();
  }

  #onMade(stock: Stock, sandbox: Sandbox): void {
    if (this.#isEnding) return this.#maker.discard(sandbox);
    stock.add(sandbox);
    void sandbox.closed.then(() => {
      if (!stock.drop(sandbox)) return;
      this.#options.log.warn({ sandbox: sandbox.id.slice(0, 12) }, 'a ready sandbox went away');
      this.#fill(stock);
      this.#engine.judge();
    });
  }
}
