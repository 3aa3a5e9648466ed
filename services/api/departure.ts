/**
 * How an API process leaves: first it says so on /readyz and goes on answering, for as long as whoever spreads calls over
 * several takes to hear it; only then does its socket close. Without that moment, calls that are on their way are refused.
 */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Departure {
  readonly isLeaving: boolean;
  /** Aborted when the moment is over: what has no end of its own ends now. */
  readonly signal: AbortSignal;
  /** Resolves when the moment is over. */
  begin(): Promise<void>;
}

export function createDeparture(noticeMs: number): Departure {
  const over = new AbortController();
  let isLeaving = false;
  return {
    get isLeaving() {
      return isLeaving;
    },
    signal: over.signal,
    async begin() {
      isLeaving = true;
      await sleep(noticeMs);
      over.abort();
    },
  };
}
