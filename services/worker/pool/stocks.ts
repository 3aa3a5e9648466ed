/**
 * Which shapes have a stock, and how large each may be: that of the first shape always, those of the shapes that jobs
 * asked for last, and all together no more than the host has room for.
 */
import { steadyNowMs } from '../../../shared/steady-clock.ts';
import { type Sandbox, type Shape, shapeKey } from '../sandbox/sandbox.ts';
import { Stock } from './stock.ts';
import { type Bounds, targetAfterMiss, targetAfterPeriod, within } from './target.ts';

/** A stock that no job asked of for so long is let go. */
const IDLE_STOCK_MS = 300_000;
/** Beside the first, so many shapes have a stock: a caller who asks for ever new ones must not fill the host. */
const KEPT_SHAPES = 4;

export interface StocksOptions {
  /** The shape that is kept ready from the start. */
  readonly firstShape: Shape;
  /** Sandboxes kept ready of each shape in use, at least. */
  readonly floor: number;
  /** Sandboxes kept ready of all shapes together, at most. */
  readonly maxReady: number;
  readonly maxAgeMs: number;
  /** Whether a sandbox of one shape can be changed into the other: then the other needs no stock of its own. */
  readonly canBecome: (from: Shape, to: Shape) => boolean;
  readonly discard: (sandbox: Sandbox) => void;
}

export interface StocksFigures {
  readonly ready: number;
  readonly creating: number;
  /** Age of the oldest ready sandbox; 0 when none is ready. */
  readonly oldestMs: number;
}

export class Stocks {
  readonly #options: StocksOptions;
  readonly #stocks = new Map<string, Stock>();
  /** Always there, and before all others. */
  readonly first: Stock;

  constructor(options: StocksOptions) {
    this.#options = options;
    this.first = this.of(options.firstShape);
  }

  all(): Iterable<Stock> {
    return this.#stocks.values();
  }

  figures(): StocksFigures {
    const stocks = [...this.#stocks.values()];
    const oldestAtMs = Math.min(...stocks.map((stock) => stock.oldestAtMs));
    return {
      ready: stocks.reduce((sum, stock) => sum + stock.ready, 0),
      creating: stocks.reduce((sum, stock) => sum + stock.creating, 0),
      oldestMs: Number.isFinite(oldestAtMs) ? steadyNowMs() - oldestAtMs : 0,
    };
  }

  areFull(): boolean {
    return [...this.#stocks.values()].every(
      (stock) => stock.creating === 0 && stock.ready >= this.targetOf(stock),
    );
  }

  /** Whether the last try of every shape failed: then it is the engine, not one image. */
  areFailing(): boolean {
    const tried = [...this.#stocks.values()].filter(({ backoff }) => backoff.isTried);
    return tried.length > 0 && tried.every(({ backoff }) => backoff.isFailing);
  }

  of(shape: Shape): Stock {
    const key = shapeKey(shape);
    let stock = this.#stocks.get(key);
    if (stock === undefined) {
      stock = new Stock(shape, this.#options.maxAgeMs, this.#options.discard);
      this.#stocks.set(key, stock);
    }
    return stock;
  }

  /** Whether one stock has a sandbox for a job of the other's shape, under changed limits. */
  canLend(from: Stock, to: Stock): boolean {
    if (from === to || from.ready === 0 || from.changes.isPaused) return false;
    return this.#options.canBecome(from.shape, to.shape);
  }

  targetOf(stock: Stock): number {
    return within(stock.target, this.#boundsOf(stock));
  }

  missed(stock: Stock): void {
    stock.target = targetAfterMiss(stock.target, this.#boundsOf(stock));
  }

  /** Moves every target by what was asked in the last period, replaces what is old, lets go what nobody asks for. */
  keepUp(periodMs: number): void {
    for (const stock of this.#stocks.values()) {
      const bounds = this.#boundsOf(stock);
      stock.target = targetAfterPeriod(stock.target, stock.demand(periodMs), bounds);
      stock.trim(stock.target);
    }
    const kept = this.#kept();
    for (const [key, stock] of this.#stocks) {
      if (stock.creating + stock.waiting === 0 && !kept.includes(stock)) this.#stocks.delete(key);
    }
  }

  /** In turn, each stock may take of the room what the floors of those after it leave. */
  #boundsOf(stock: Stock): Bounds {
    const kept = this.#kept();
    let room = this.#options.maxReady;
    let reserved = kept.reduce((sum, one) => sum + this.#floorOf(one), 0);
    for (const one of kept) {
      const floor = Math.min(this.#floorOf(one), room);
      reserved -= this.#floorOf(one);
      const bounds = { floor, ceiling: Math.max(floor, room - reserved) };
      if (one === stock) return bounds;
      room -= within(one.target, bounds);
    }
    return { floor: 0, ceiling: 0 };
  }

  #floorOf(stock: Stock): number {
    const { floor, firstShape, canBecome } = this.#options;
    return stock !== this.first && canBecome(firstShape, stock.shape) ? 0 : floor;
  }

  /** The first, then the others, those used last before those used earlier. */
  #kept(): Stock[] {
    const others = [...this.#stocks.values()]
      .filter((stock) => stock !== this.first && steadyNowMs() - stock.usedAtMs < IDLE_STOCK_MS)
      .sort((one, other) => other.usedAtMs - one.usedAtMs);
    return [this.first, ...others.slice(0, KEPT_SHAPES)];
  }
}
