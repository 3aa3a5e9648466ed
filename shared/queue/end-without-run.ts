/** The result of a job of which nothing ran, or nothing is known: from its record alone. Also the view of an open job. */
import {
  exitCodeOf,
  type JobResult,
  NO_OUTPUT,
  NO_USAGE,
  type Outcome,
  verdictOf,
} from '../contract/result.ts';
import type { JobRecord } from './job-record.ts';

const iso = (ms: number): string => new Date(ms).toISOString();

/** A job that is not done: the same object as a result, without an outcome. */
export function openJobView(id: string, record: JobRecord): JobResult {
  const isWaiting = record.state === 'queued' || record.state === 'awaiting_approval';
  const takenAtMs = isWaiting ? undefined : record.takenAt;
  return {
    id,
    state: record.state,
    outcome: null,
    fault: 'none',
    retryable: false,
    ran: record.starts > 0 ? 'unknown' : 'no',
    exitCode: null,
    timedOut: false,
    ...NO_OUTPUT,
    artifacts: [],
    artifactsSkipped: [],
    usage: NO_USAGE,
    timing: {
      acceptedAt: iso(record.acceptedAt),
      startedAt: null,
      finishedAt: null,
      queuedMs: Math.max(0, (takenAtMs ?? Date.now()) - record.acceptedAt),
      setupMs: 0,
      runMs: 0,
    },
    attempt: record.starts,
    worker: takenAtMs === undefined ? null : (record.worker ?? null),
    image: record.image,
    runtime: record.runtime,
    labels: record.labels,
    ...(record.state === 'awaiting_approval' ? { approvalId: record.needsApproval } : {}),
  };
}

export function endWithoutRun(end: {
  id: string;
  record: JobRecord;
  outcome: Outcome;
  finishedAtMs: number;
}): JobResult {
  const { outcome, record, finishedAtMs } = end;
  const verdict = verdictOf(outcome);
  const view = openJobView(end.id, record);
  return {
    ...view,
    state: 'done',
    outcome,
    ...verdict,
    ran: record.starts === 0 ? 'no' : verdict.ran === 'no' ? 'unknown' : verdict.ran,
    exitCode: exitCodeOf(outcome),
    timedOut: outcome.kind === 'timed_out',
    timing: {
      ...view.timing,
      finishedAt: iso(finishedAtMs),
      queuedMs: Math.max(0, (record.takenAt ?? finishedAtMs) - record.acceptedAt),
    },
  };
}
