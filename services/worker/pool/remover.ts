/**
 * Ends sandboxes and removes them in the background until the engine confirms that they are gone. One whose removal
 * fails, or hangs, is in quarantine: tried again after pauses, a few at a time and outside of the gate, so that it
 * holds up no other; until it is gone, its uid stays taken.
 */
import PQueue from 'p-queue';
import { limited } from '../../../shared/limited.ts';
import type { Log } from '../../../shared/log.ts';
import { milestone } from '../../../shared/milestones.ts';
import type { Sandbox, SandboxEngine } from '../sandbox/sandbox.ts';
import type { EngineGate } from './gate.ts';
import type { Uids } from './uids.ts';

/** Many times what a removal takes when many are under way. What hangs longer has had its turn at the gate. */
const TURN_MS = 5_000;
const RETRY_FIRST_MS = 200;
const RETRY_MAX_MS = 10_000;
const RETRIES_AT_ONCE = 2;
/** Removals that are still failing when the worker stops are left to another worker's sweep. */
const TRIES_WHILE_STOPPING = 3;

/** A sandbox, or what is left of one that could not be made and has no guest to end. */
type Removable = Pick<Sandbox, 'nonce' | 'uid'> & Partial<Pick<Sandbox, 'end'>>;

export interface Remover {
  /** Starts a removal; `onGone` is called once it is confirmed. */
  remove(sandbox: Removable, onGone: () => void): void;
  /** How many removals are under way or waiting. */
  readonly pending: number;
  /** Of these, how many have failed so far. */
  readonly quarantined: number;
  /** Waits for what is under way. */
  stop(): Promise<void>;
}

export function createRemover(options: {
  engine: Pick<SandboxEngine, 'remove'>;
  gate: EngineGate;
  uids: Uids;
  log: Log;
  turnMs?: number;
}): Remover {
  const { engine, gate, uids, log, turnMs = TURN_MS } = options;
  const underWay = new Set<Promise<void>>();
  const retries = new PQueue({ concurrency: RETRIES_AT_ONCE });
  let quarantined = 0;
  let isStopping = false;

  const removeOnce = async ({ nonce, end }: Removable): Promise<void> => {
    await end?.();
    await engine.remove(nonce);
    milestone('removed');
  };

  /** False when it is given up. */
  const retryUntilGone = async (sandbox: Removable): Promise<boolean> => {
    for (let tries = 1; ; tries++) {
      if (isStopping && tries >= TRIES_WHILE_STOPPING) return false;
      const pauseMs = Math.min(RETRY_FIRST_MS * 2 ** (tries - 1), RETRY_MAX_MS);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      try {
        await retries.add(() => removeOnce(sandbox));
        return true;
      } catch (error) {
        log.warn({ err: error, nonce: sandbox.nonce, tries: tries + 1 }, 'a removal failed');
      }
    }
  };

  const removeUntilGone = async (sandbox: Removable): Promise<boolean> => {
    try {
      await gate.remove(() => limited(removeOnce(sandbox), turnMs));
      return true;
    } catch (error) {
      log.warn({ err: error, nonce: sandbox.nonce, tries: 1 }, 'a removal failed');
    }
    quarantined++;
    try {
      return await retryUntilGone(sandbox);
    } finally {
      quarantined--;
    }
  };

  const track = (sandbox: Removable, onGone: () => void): void => {
    const work = removeUntilGone(sandbox).then((isGone) => {
      underWay.delete(work);
      if (!isGone) return;
      uids.release(sandbox.uid);
      onGone();
    });
    underWay.add(work);
  };

  return {
    remove: track,

    get pending() {
      return underWay.size;
    },
    get quarantined() {
      return quarantined;
    },
    async stop() {
      isStopping = true;
      await Promise.all(underWay);
    },
  };
}
