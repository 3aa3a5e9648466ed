/** How long to leave an engine alone that fails: longer with each failure in a row, never the same for two workers. */
import { steadyNowMs } from '../../../shared/steady-clock.ts';

const FIRST_MS = 250;
const MAX_MS = 10_000;

export interface Backoff {
  /** Whether the last thing that the engine was asked for failed. */
  readonly isFailing: boolean;
  /** Whether it was asked for anything yet. */
  readonly isTried: boolean;
  readonly isPaused: boolean;
  /** Counts a failure; returns the pause in milliseconds. */
  fail(): number;
  succeed(): void;
  /** As if it had never been asked. */
  forget(): void;
}

export function createBackoff(random: () => number = Math.random): Backoff {
  let failures = 0;
  let isTried = false;
  let pausedUntilMs = 0;
  return {
    get isFailing() {
      return failures > 0;
    },
    get isTried() {
      return isTried;
    },
    get isPaused() {
      return steadyNowMs() < pausedUntilMs;
    },
    fail() {
      isTried = true;
      const pauseMs = Math.min(FIRST_MS * 2 ** failures, MAX_MS) * (0.5 + random() / 2);
      failures++;
      pausedUntilMs = steadyNowMs() + pauseMs;
      return pauseMs;
    },
    succeed() {
      isTried = true;
      failures = 0;
    },
    forget() {
      isTried = false;
      failures = 0;
      pausedUntilMs = 0;
    },
  };
}
