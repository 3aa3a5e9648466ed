/** What a worker looks at before it runs a job that it began: nothing that comes out of Redis is trusted. */
import type { Outcome } from '../../shared/contract/result.ts';
import { type JobSpec, parseSpec } from '../../shared/contract/spec.ts';
import type { JobRecord } from '../../shared/queue/job-record.ts';

export type Permit =
  | { readonly spec: JobSpec; readonly end: undefined }
  /** Why it is not run. */
  | { readonly spec: undefined; readonly end: Outcome };

const ends = (end: Outcome): Permit => ({ spec: undefined, end });

export function permit(_id: string, begun: { spec: string; record: JobRecord }): Permit {
  const { record } = begun;
  const spec = parseSpec(begun.spec);
  if (spec === undefined) return ends({ kind: 'lost', cause: 'spec_unreadable' });
  if (record.cancelledBy !== undefined) {
    return ends({ kind: 'cancelled', by: record.cancelledBy });
  }
  if (spec.onLost === 'fail' && record.starts > 1) {
    return ends({ kind: 'lost', cause: 'worker_lost' });
  }
  return { spec, end: undefined };
}
