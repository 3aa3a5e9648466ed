/**
 * Sandboxes whose removal failed, or hangs: tried again after pauses that grow, a few at a time and outside of the gate,
 * so that they hold up no other.
 */
import PQueue from 'p-queue';
import type { Log } from '../../../shared/log.ts';

const RETRY_FIRST_MS = 200;
const RETRY_MAX_MS = 10_000;
const RETRIES_AT_ONCE = 2;
/** Removals that are still failing when the worker stops are left to another worker's sweep. */
const RETRIES_WHILE_STOPPING = 2;

export interface Quarantine {
  readonly size: number;
  /** Tries until it succeeds; false when it was given up, which happens only after close(). */
  hold(nonce: string, remove: () => Promise<void>): Promise<boolean>;
  close(): void;
}

export function createQuarantine(log: Log): Quarantine {
  const turns = new PQueue({ concurrency: RETRIES_AT_ONCE });
  let size = 0;
  let isClosing = false;

  const retryUntilGone = async (nonce: string, remove: () => Promise<void>): Promise<boolean> => {
    for (let retries = 0; !isClosing || retries < RETRIES_WHILE_STOPPING; retries++) {
      const pauseMs = Math.min(RETRY_FIRST_MS * 2 ** retries, RETRY_MAX_MS);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      try {
        await turns.add(remove);
        return true;
      } catch (error) {
        log.warn({ err: error, nonce, retries: retries + 1 }, 'a removal failed again');
      }
    }
    return false;
  };

  return {
    get size() {
      return size;
    },
    async hold(nonce, remove) {
      size++;
      try {
        return await retryUntilGone(nonce, remove);
      } finally {
        size--;
      }
    },
    close() {
      isClosing = true;
    },
  };
}
