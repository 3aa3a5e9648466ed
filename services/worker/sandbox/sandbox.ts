/**
 * What the pool and run-job need of sandboxes and of the engine that makes them. No word of any one engine belongs
 * here: Docker is the implementation today (docker-engine.ts), and another may follow.
 */
import type { JobSpec } from '../../../shared/contract/spec.ts';
import type { Runtime } from '../../../shared/runtimes.ts';
import type { GuestSession } from '../protocol/session.ts';

/** What of a sandbox is fixed when it is made. Jobs of one shape can use each other's stock. */
export interface Shape {
  readonly image: string;
  readonly runtime: Runtime;
  readonly memoryMb: number;
  readonly cpus: number;
  readonly processes: number;
  readonly workspaceMb: number;
}

export const shapeOf = ({
  image,
  runtime,
  limits,
}: Pick<JobSpec, 'image' | 'runtime' | 'limits'>): Shape => ({
  image,
  runtime,
  memoryMb: limits.memoryMb,
  cpus: limits.cpus,
  processes: limits.processes,
  workspaceMb: limits.workspaceMb,
});

export const shapeKey = (shape: Shape): string =>
  [shape.image, shape.runtime, shape.memoryMb, shape.cpus, shape.processes, shape.workspaceMb].join(
    ' ',
  );

/** What a job needs of a sandbox. */
export interface Need {
  readonly shape: Shape;
  /** Tenant and group as one text: jobs of one group may follow one another in one sandbox. Null: one of its own. */
  readonly group: string | null;
}

/** memory: the kernel ended it for its memory. crash: its own kernel failed, which nothing but its program drives. */
export type CauseOfDeath = 'memory' | 'crash';

export interface Sandbox {
  /** The engine's name of it, for the log. */
  readonly id: string;
  /** Ours, in its labels: what removals and the sweep know it by. */
  readonly nonce: string;
  readonly uid: number;
  readonly shape: Shape;
  /** The operator's image, by digest. */
  readonly imageDigest: string;
  readonly createdAtMs: number;
  readonly session: GuestSession;
  /** Resolves once the stream to the guest is gone. */
  readonly closed: Promise<void>;
  /** Why the sandbox as a whole ended, where the guest could not say so and the engine can. */
  causeOfDeath(): Promise<CauseOfDeath | undefined>;
  /**
   * Has the guest end, and waits a moment for it; then the stream is dropped. Comes before a removal: the engine
   * removes what has ended in half the time, and a stream that nobody reads makes a removal hang.
   */
  end(): Promise<void>;
  /** Drops the stream at once; the guest ends on it. */
  disconnect(): void;
}

export interface Order {
  readonly shape: Shape;
  readonly uid: number;
  readonly nonce: string;
  /** When the sandbox must be gone, whatever happens. */
  readonly deadlineMs: number;
}

export interface ListedSandbox {
  readonly nonce: string;
  readonly worker: string;
  readonly installation: string;
  readonly uid: number;
  readonly deadlineMs: number;
}

export interface SandboxEngine {
  /** What it says it has. */
  readonly runtimes: readonly Runtime[];
  /** The release of the kernel of its machine. */
  readonly kernel: string;
  /** Resolves when it answers at all; rejects when it does not within a few seconds. */
  ping(): Promise<void>;
  /** A started sandbox whose guest has said that it is ready. What it has half made when it fails is to be removed. */
  create(order: Order): Promise<Sandbox>;
  /** Whether a sandbox of one shape can be made into the other: whether they differ in nothing that creation fixes. */
  canBecome(from: Shape, to: Shape): boolean;
  /** An unused sandbox under other limits. Where this fails, the old one is in no known shape and must go. */
  update(sandbox: Sandbox, shape: Shape): Promise<Sandbox>;
  /** By nonce; resolves only once the sandbox is certainly gone, or never was. */
  remove(nonce: string): Promise<void>;
  /** Every sandbox of any worker on this engine, running or not. */
  list(): Promise<ListedSandbox[]>;
}

/** No sandbox could be made; nothing of the job ran. */
export class SandboxUnavailableError extends Error {
  override readonly name = 'SandboxUnavailableError';
}

/** Whatever was thrown while a sandbox was made: for the job that waits it means that nothing of it ran. */
export const asUnavailable = (error: unknown): SandboxUnavailableError =>
  error instanceof SandboxUnavailableError
    ? error
    : new SandboxUnavailableError('no sandbox could be made', { cause: error });
