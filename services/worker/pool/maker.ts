/**
 * Makes sandboxes and lets them go, and knows of each, from the order until the engine has confirmed that it is gone,
 * that it is this worker's.
 */
import { randomBytes } from 'node:crypto';
import type { SharedClock } from '../../../shared/queue/shared-clock.ts';
import { steadyNowMs } from '../../../shared/steady-clock.ts';
import { asUnavailable, type Sandbox, type SandboxEngine, type Shape } from '../sandbox/sandbox.ts';
import type { EngineGate } from './gate.ts';
import type { Remover } from './remover.ts';
import type { Uids } from './uids.ts';

export interface Maker {
  /** `isAwaited`: a job waits for it. Rejects with a SandboxUnavailableError. */
  make(shape: Shape, isAwaited: boolean): Promise<{ sandbox: Sandbox; tookMs: number }>;
  discard(sandbox: Sandbox): void;
  /** What the sweep leaves alone. */
  owns(nonce: string): boolean;
  /** What still waits at the gate is not made any more. */
  close(reason: Error): void;
}

export function createMaker(options: {
  engine: Pick<SandboxEngine, 'create'>;
  gate: EngineGate;
  remover: Remover;
  uids: Uids;
  clock: Pick<SharedClock, 'nowMs'>;
  /** How long after its order a sandbox must be gone. */
  lifeMs: number;
  /** Throws where none is to be made. */
  require?: () => void;
}): Maker {
  const { engine, gate, remover, uids, clock, lifeMs } = options;
  const owned = new Set<string>();
  let closed: Error | undefined;

  return {
    async make(shape, isAwaited) {
      const nonce = randomBytes(16).toString('hex');
      owned.add(nonce);
      let uid: number | undefined;
      try {
        return await gate.create(isAwaited, async () => {
          if (closed !== undefined) throw closed;
          options.require?.();
          uid = uids.take();
          const orderedAtMs = steadyNowMs();
          const deadlineMs = clock.nowMs() + lifeMs;
          const sandbox = await engine.create({ shape, uid, nonce, deadlineMs });
          return { sandbox, tookMs: steadyNowMs() - orderedAtMs };
        });
      } catch (error) {
        // Something may have been half made; the uid is free once it is confirmed that nothing is left.
        if (uid === undefined) owned.delete(nonce);
        else remover.remove({ nonce, uid }, () => owned.delete(nonce));
        throw asUnavailable(error);
      }
    },
    discard: (sandbox) => remover.remove(sandbox, () => owned.delete(sandbox.nonce)),
    owns: (nonce) => owned.has(nonce),
    close(reason) {
      closed = reason;
    },
  };
}
