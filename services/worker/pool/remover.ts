/**
 * Ends sandboxes and removes them in the background until the engine confirms that they are gone. A removal that fails is tried
 * again after a pause; until it succeeds, its uid stays taken.
 */

import type { Log } from '../../../shared/log.ts';
import { milestone } from '../../../shared/milestones.ts';
import type { Sandbox, SandboxEngine } from '../sandbox/sandbox.ts';
import type { EngineGate } from './gate.ts';
import type { Uids } from './uids.ts';

/** Whoever waits for the result that was just published must not wait for this. */
const BEGIN_AFTER_MS = 15;
const RETRY_FIRST_MS = 200;
const RETRY_MAX_MS = 10_000;
/** Removals that are still failing when the worker stops are left to another worker's sweep. */
const TRIES_WHILE_STOPPING = 3;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A sandbox, or what is left of one that could not be made and has no guest to end. */
type Removable = Pick<Sandbox, 'nonce' | 'uid'> & Partial<Pick<Sandbox, 'end'>>;

export interface Remover {
  /** Starts a removal; `onGone` is called once it is confirmed. */
  remove(sandbox: Removable, onGone: () => void): void;
  /** How many removals are under way or waiting. */
  readonly pending: number;
  /** Waits for what is under way. */
  stop(): Promise<void>;
}

export function createRemover(options: {
  engine: SandboxEngine;
  gate: EngineGate;
  uids: Uids;
  log: Log;
}): Remover {
  const { engine, gate, uids, log } = options;
  const underWay = new Set<Promise<void>>();
  let isStopping = false;

  const removeUntilGone = async ({ nonce, end }: Removable): Promise<boolean> => {
    await sleep(BEGIN_AFTER_MS);
    for (let tries = 1; ; tries++) {
      try {
        await gate.remove(async () => {
          await end?.();
          await engine.remove(nonce);
          milestone('removed');
        });
        return true;
      } catch (error) {
        log.warn({ err: error, nonce, tries }, 'a removal failed');
      }
      if (isStopping && tries >= TRIES_WHILE_STOPPING) return false;
      const pauseMs = Math.min(RETRY_FIRST_MS * 2 ** (tries - 1), RETRY_MAX_MS);
      await sleep(pauseMs);
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
    async stop() {
      isStopping = true;
      await Promise.all(underWay);
    },
  };
}
