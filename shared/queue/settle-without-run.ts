/** Settles a job of which nothing ran, or nothing is known: its result follows from its record and the outcome. */
import type { Redis } from 'ioredis';
import type { Outcome } from '../contract/result.ts';
import { endWithoutRun } from './end-without-run.ts';
import { USED_NOTHING } from './holds.ts';
import type { JobRecord } from './job-record.ts';
import { type ApprovalEnd, type Settled, settleJob } from './settle.ts';

export async function settleWithoutRun(
  redis: Redis,
  end: {
    id: string;
    /** As it was just read: the job is settled only while it is still in that state, and was not begun since. */
    record: JobRecord;
    outcome: Outcome;
    /** The number that `begin` gave, where this worker began it. */
    start?: number;
    approval?: ApprovalEnd;
  },
): Promise<Settled> {
  const { id, outcome, start } = end;
  // Where this worker began it, that start ran nothing and does not count.
  const starts = start === undefined ? end.record.starts : end.record.starts - 1;
  const record = { ...end.record, starts };
  const finishedAtMs = Date.now();
  return settleJob(redis, {
    id,
    // As it was read: by now another worker may have begun it, and even handed it back.
    start: start ?? record.fence,
    from: start === undefined ? record.state : 'running',
    result: JSON.stringify(endWithoutRun({ id, record, outcome, finishedAtMs })),
    outcome,
    finishedAtMs,
    retainMs: record.retainMs,
    approval: end.approval,
    // One that was lost under way may have used anything.
    used: record.starts === 0 ? USED_NOTHING : undefined,
  });
}
