/**
 * Ends sandboxes and removes them in the background until the engine confirms that they are gone. One whose removal
 * fails or takes too long is in quarantine from then on; until it is gone, its uid stays taken.
 */
import { limited } from '../../../shared/limited.ts';
import type { Log } from '../../../shared/log.ts';
import { milestone } from '../../../shared/milestones.ts';
import type { Sandbox, SandboxEngine } from '../sandbox/sandbox.ts';
import type { EngineGate } from './gate.ts';
import { createQuarantine } from './quarantine.ts';
import type { Uids } from './uids.ts';

/** Whoever waits for the result that was just published must not wait for this. */
const BEGIN_AFTER_MS = 15;
/** Many times what a removal takes when many are under way. What hangs longer has had its turn at the gate. */
const TURN_MS = 5_000;

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
  const quarantine = createQuarantine(log);

  const removeUntilGone = async ({ nonce, end }: Removable): Promise<boolean> => {
    const remove = async (): Promise<void> => {
      await end?.();
      await engine.remove(nonce);
      milestone('removed');
    };
    await new Promise((resolve) => setTimeout(resolve, BEGIN_AFTER_MS));
    try {
      await gate.remove(() => limited(remove(), turnMs));
      return true;
    } catch (error) {
      log.warn({ err: error, nonce }, 'a removal failed');
      return quarantine.hold(nonce, remove);
    }
  };

  return {
    remove(sandbox, onGone) {
      const work = removeUntilGone(sandbox).then((isGone) => {
        underWay.delete(work);
        if (!isGone) return;
        uids.release(sandbox.uid);
        onGone();
      });
      underWay.add(work);
    },
    get pending() {
      return underWay.size;
    },
    get quarantined() {
      return quarantine.size;
    },
    async stop() {
      quarantine.close();
      await Promise.all(underWay);
    },
  };
}
