/** Evidence → outcome. Pure; first cause wins: what killed was written before the kill and nothing is guessed from it. */
import type { Outcome } from '../../shared/contract/result.ts';
import { errnoName, signalName } from '../../shared/linux.ts';
import type { EndCause } from './deadline.ts';
import type { GuestReport, StepReport } from './protocol/conversation.ts';
import { CAUSE, KIND, STAGE } from './protocol/frame.ts';
import type { CauseOfDeath } from './sandbox/sandbox.ts';

/** What is known of a run once it is over. */
export interface Evidence {
  /** What ended it from outside, if anything did. */
  readonly cause: EndCause | undefined;
  /** What the guest reported; undefined when it was lost before. */
  readonly report: GuestReport | undefined;
  /** Why the sandbox as a whole ended, where that is known. */
  readonly causeOfDeath: CauseOfDeath | undefined;
  /** How many steps the job has. */
  readonly stepCount: number;
}

export function outcomeOf({ cause, report, causeOfDeath, stepCount }: Evidence): Outcome {
  if (cause?.kind === 'cancelled' && !hasEndedByItself(report, stepCount)) {
    return { kind: 'cancelled', by: cause.by };
  }
  if (report === undefined) {
    if (cause === undefined && causeOfDeath === 'memory') return { kind: 'out_of_memory' };
    if (cause === undefined && causeOfDeath === 'crash') {
      return { kind: 'lost', cause: 'sandbox_crashed' };
    }
    switch (cause?.kind) {
      case 'unresponsive':
        return { kind: 'lost', cause: 'sandbox_unresponsive' };
      case 'draining':
      case 'lock_lost':
        return { kind: 'lost', cause: 'worker_lost' };
      default:
        return { kind: 'lost', cause: 'sandbox_lost' };
    }
  }
  if (report.refused) return couldNotStart(report.refused.stage, report.refused.errno);
  const last = report.steps.at(-1);
  if (last === undefined) return { kind: 'lost', cause: 'sandbox_lost' };
  // Told to end between two steps, the guest names no cause: what did not run to its end is lost.
  if (!hasEndedByItself(report, stepCount)) {
    return { kind: 'lost', cause: cause === undefined ? 'sandbox_lost' : 'worker_lost' };
  }
  return outcomeOfStep(last);
}

/**
 * Whether a sandbox may run another job of its group: only when the program ended by itself, nothing was killed for
 * memory, nobody asked for an end, however late, and the guest lived to say all of it.
 */
export const mayBeReused = (
  outcome: Outcome,
  { cause, report }: Pick<Evidence, 'cause' | 'report'>,
): boolean =>
  (outcome.kind === 'exited' || outcome.kind === 'signaled') &&
  cause === undefined &&
  report?.usage.oomKills === 0;

/** The request to end came when the job had ended: by a cause of its own, or with its last step. */
function hasEndedByItself(report: GuestReport | undefined, stepCount: number): boolean {
  if (report === undefined) return false;
  if (report.refused) return true;
  const last = report.steps.at(-1);
  if (last === undefined || last.cause >= CAUSE.CANCELLED) return false;
  return !endedWell(last) || report.steps.length === stepCount;
}

/** By itself, and with exit code 0: the next step may run. */
export const endedWell = ({ cause, kind, code }: StepReport): boolean =>
  cause === CAUSE.NONE && kind === KIND.EXITED && code === 0;

/** One step. The kernel does not say whom it struck: its kills count for the step in which they came. */
export function outcomeOfStep(step: StepReport): Outcome {
  switch (step.cause) {
    case CAUSE.WALL:
      return { kind: 'timed_out', limit: 'wall' };
    case CAUSE.CPU:
      return { kind: 'timed_out', limit: 'cpu' };
    case CAUSE.OUTPUT:
      return { kind: 'output_limit' };
    case CAUSE.CANCELLED:
      return { kind: 'cancelled', by: 'caller' };
    case CAUSE.ABORTED:
      return { kind: 'lost', cause: 'worker_lost' };
    default:
  }
  if (step.kind === KIND.COULD_NOT_START) return couldNotStart(step.stage, step.code);
  if (step.oomKills > 0 && !endedWell(step)) return { kind: 'out_of_memory' };
  return step.kind === KIND.EXITED
    ? { kind: 'exited', exitCode: step.code }
    : { kind: 'signaled', signal: signalName(step.code) };
}

const STAGE_NAMES: Readonly<Record<number, 'setup' | 'files' | 'cwd' | 'exec'>> = {
  [STAGE.SETUP]: 'setup',
  [STAGE.FILES]: 'files',
  [STAGE.CWD]: 'cwd',
  [STAGE.EXEC]: 'exec',
};

const couldNotStart = (stage: number, errno: number): Outcome => ({
  kind: 'could_not_start',
  stage: STAGE_NAMES[stage] ?? 'setup',
  errno: errnoName(errno),
});
