/** The story of one start: lease a sandbox, execute, decide the outcome. The sandbox goes when the result is out. */

import type { Outcome } from '../../shared/contract/result.ts';
import type { JobSpec } from '../../shared/contract/spec.ts';
import type { Deadline } from './deadline.ts';
import { type Execution, execute, type OutputWatcher } from './execution.ts';
import { outcomeOf } from './outcome.ts';
import { traitsOf } from './sandbox/runtimes.ts';
import { type Need, type Sandbox, shapeOf } from './sandbox/sandbox.ts';

/** What a run needs of the pool. */
export interface Leases {
  lease(need: Need): Promise<Sandbox>;
  /** The lease is over; a reusable sandbox may serve its group again after a reset, any other is removed. */
  retire(sandbox: Sandbox, options: { isReusable: boolean }): void;
  /** Whether no sandbox of any shape could be made when last tried. */
  isEngineFailing(): boolean;
}

export interface Run {
  readonly outcome: Outcome;
  readonly execution: Execution;
  readonly sandbox: Sandbox;
}

/** Rejects with a SandboxUnavailableError when nothing ran. Whoever calls retires the sandbox, once it has published. */
export async function runJob(
  { spec, tenant }: { spec: JobSpec; tenant: string },
  tools: {
    leases: Leases;
    deadline: Deadline;
    streamBytes: number;
    blobs: ReadonlyMap<string, Buffer>;
    watcher: OutputWatcher;
  },
): Promise<Run> {
  const isShared = spec.group !== null && traitsOf(spec.runtime).canReset;
  const group = isShared ? `${tenant} ${spec.group}` : null;
  const sandbox = await tools.leases.lease({ shape: shapeOf(spec), group });
  const execution = await execute(sandbox, spec, { ...tools, isShared });
  const outcome = outcomeOf({
    cause: tools.deadline.cause,
    report: execution.report,
    causeOfDeath: execution.causeOfDeath,
    stepCount: spec.steps.length,
  });
  return { outcome, execution, sandbox };
}
