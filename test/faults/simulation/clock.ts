/** The one clock of a simulation: nothing passes but from one timer to the next. */
import { vi } from 'vitest';

const EPOCH_MS = Date.UTC(2026, 0, 1);
const soon = setImmediate;

/** Lets everything happen that waits for nothing but its promises. */
export const settle = (): Promise<void> => new Promise((resolve) => soon(resolve));

export class Clock {
  #redisAheadMs = 0;

  start(): void {
    vi.useFakeTimers({ now: EPOCH_MS });
  }

  stop(): void {
    vi.clearAllTimers();
    vi.useRealTimers();
  }

  /** Since the start, whatever the wall clocks say. */
  get elapsedMs(): number {
    return performance.now();
  }

  get redisMs(): number {
    return EPOCH_MS + Math.floor(this.elapsedMs) + this.#redisAheadMs;
  }

  next(): void {
    vi.advanceTimersToNextTimer();
  }

  /** Of every process at once. */
  jump(ms: number): void {
    vi.setSystemTime(Date.now() + ms);
  }

  jumpRedis(ms: number): void {
    this.#redisAheadMs += ms;
  }
}
