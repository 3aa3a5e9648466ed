/**
 * How long a server that does not answer is waited for: tried again with growing pauses until nothing was heard of it for
 * `giveUpAfterMs`. A server that was never there is not waited for: its address is wrong, or it was not started.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerError } from '../client.ts';
import { type NoAnswer, Refusal } from './request.ts';

const GIVE_UP_AFTER_MS = 15 * 60_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** A server asks for what it likes; a person in front of a still screen likes it less. */
const LONGEST_ASKED_PAUSE_MS = 60_000;

/** The server was silent for too long. */
export class GaveUp extends ServerError {}

export interface Patience {
  /** The server was heard of. */
  heard(): void;
  /** Pauses after a failure; throws when it is time to give up, or the reason of `signal` when that is aborted. */
  pause(error: NoAnswer | Refusal, signal: AbortSignal): Promise<void>;
}

export function createPatience(options: {
  note: (line: string) => void;
  now?: () => number;
  wait?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}): Patience {
  const { note, now = Date.now } = options;
  const wait = options.wait ?? ((ms, signal) => sleep(ms, undefined, { signal }));
  let wasReached = false;
  let silentSinceMs: number | undefined;
  let failures = 0;

  return {
    heard() {
      wasReached = true;
      silentSinceMs = undefined;
      failures = 0;
    },
    async pause(error, signal) {
      wasReached ||= error instanceof Refusal || error.wasConnected;
      if (!wasReached) throw error;
      // A refusal is an answer: whoever is asked to wait is not forgotten.
      if (error instanceof Refusal && error.retryAfterMs > 0) silentSinceMs = undefined;
      silentSinceMs ??= now();
      if (now() - silentSinceMs > GIVE_UP_AFTER_MS) {
        const minutes = GIVE_UP_AFTER_MS / 60_000;
        throw new GaveUp(`Nothing came in ${minutes} minutes. ${error.message}`, { cause: error });
      }
      const grown = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);
      const asked = error instanceof Refusal ? error.retryAfterMs : 0;
      // Half by chance: clients that lost the same server must not come back at one moment.
      const ms = Math.max(
        grown * (0.5 + Math.random() / 2),
        Math.min(asked, LONGEST_ASKED_PAUSE_MS),
      );
      if (failures === 0) note(`${error.message} Trying again; ^C stops.`);
      failures += 1;
      await wait(ms, signal).catch((cause: unknown) => {
        signal.throwIfAborted();
        throw cause;
      });
    },
  };
}
