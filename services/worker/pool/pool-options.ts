/** What a pool is built of, and how large it may be. */
import type { Log } from '../../../shared/log.ts';
import type { SharedClock } from '../../../shared/queue/shared-clock.ts';
import type { SandboxEngine, Shape } from '../sandbox/sandbox.ts';
import type { EngineWatch } from './engine-watch.ts';
import type { EngineGate } from './gate.ts';
import type { Remover } from './remover.ts';
import type { Uids } from './uids.ts';

export interface PoolOptions {
  readonly engine: SandboxEngine;
  readonly watch: Pick<EngineWatch, 'isSilent' | 'onChange'>;
  readonly gate: EngineGate;
  /** What a sandbox's last moment is told by. */
  readonly clock: Pick<SharedClock, 'nowMs'>;
  readonly remover: Remover;
  readonly uids: Uids;
  /** Sandboxes kept ready of each shape in use, at least. */
  readonly target: number;
  /** Sandboxes kept ready of all shapes together, at most. */
  readonly maxReady: number;
  /** The shape that is kept ready from the start. */
  readonly firstShape: Shape;
  readonly maxAgeMs: number;
  /** How long past its lease a sandbox may live at most. */
  readonly maxLifeMs: number;
  readonly log: Log;
  readonly onCreated?: (ms: number) => void;
  /** A job has to wait for a creation. */
  readonly onMiss?: () => void;
  /** Called when it changes whether jobs had better be left to other workers. */
  readonly onJobsUnwelcome?: (areUnwelcome: boolean) => void;
}
