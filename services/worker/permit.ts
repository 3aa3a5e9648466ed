/** What a worker looks at before it runs a job that it began: nothing that comes out of Redis is trusted. */
import type { Outcome } from '../../shared/contract/result.ts';
import { type JobSpec, parseSpec } from '../../shared/contract/spec.ts';
import type { JobRecord } from '../../shared/queue/job-record.ts';
import { areUsable } from '../../shared/redaction.ts';
import type { IsGenuine } from './genuine.ts';

export type Permit =
  | { readonly spec: JobSpec; readonly end: undefined }
  /** Why it is not run. */
  | { readonly spec: undefined; readonly end: Outcome };

/** What stands for the rule where no rule decided. */
const KILL_SWITCH = 'kill_switch';

const ends = (end: Outcome): Permit => ({ spec: undefined, end });

export function permit(
  id: string,
  begun: { spec: string; record: JobRecord; killed: string | undefined },
  isGenuine: IsGenuine,
): Permit {
  const { record } = begun;
  if (!isGenuine(id, begun)) return ends({ kind: 'lost', cause: 'spec_forged' });
  const spec = parseSpec(begun.spec);
  // What cannot be masked must not be stored, and so not be run.
  if (spec === undefined || !areUsable(spec.redact)) {
    return ends({ kind: 'lost', cause: 'spec_unreadable' });
  }
  if (begun.killed !== undefined) {
    return ends({ kind: 'denied', rule: KILL_SWITCH, reason: begun.killed });
  }
  // Whoever brought it into the queue: without its approval it does not run.
  if (record.needsApproval !== undefined && record.approval !== 'approved') {
    return ends({ kind: 'denied', rule: 'approval', reason: 'It was not approved.' });
  }
  if (record.cancelledBy !== undefined) {
    return ends({ kind: 'cancelled', by: record.cancelledBy });
  }
  if (spec.onLost === 'fail' && record.starts > 1) {
    return ends({ kind: 'lost', cause: 'worker_lost' });
  }
  return { spec, end: undefined };
}
