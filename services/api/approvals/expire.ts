/** Ends approvals that nobody decided in time, as their rule says: the job is denied, or goes on. */
import type { Redis } from 'ioredis';
import type { Outcome } from '../../../shared/contract/result.ts';
import type { Log } from '../../../shared/log.ts';
import {
  type ApprovalRecord,
  readApproval,
  readApprovals,
} from '../../../shared/queue/approval-record.ts';
import { approve } from '../../../shared/queue/approve.ts';
import type { Entrance } from '../../../shared/queue/entrance.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { settleWithoutRun } from '../../../shared/queue/settle-without-run.ts';

const AT_ONCE = 100;
const NOT_IN_TIME = 'not approved in time';

/** What the clock alone decided, for the audit. */
export interface Expired {
  readonly approval: string;
  readonly job: string;
  /** It runs without anybody's yes, as its rule says. */
  readonly isReleased: boolean;
}

export interface ExpiryParts {
  readonly redis: Redis;
  readonly entrance: Entrance;
  readonly onExpired?: ((expired: Expired) => void) | undefined;
  readonly log: Log;
}

/** One pass over all whose time is over; doing it twice changes nothing. */
export async function expireApprovals(parts: ExpiryParts): Promise<void> {
  const { redis } = parts;
  for (let skip = 0, found = AT_ONCE; found === AT_ONCE; ) {
    const range = ['-inf', Date.now(), 'LIMIT', skip, AT_ONCE] as const;
    const ids = await redis.zrangebyscore(keys.pendingApprovals(), ...range);
    const records = await readApprovals(redis, ids);
    for (const [index, id] of ids.entries()) {
      const record = records[index];
      const isEnded = record !== undefined && (await expireApproval(parts, id, record));
      // One that cannot be ended, for its job is gone, must not hide those behind it.
      if (!isEnded) skip += 1 - (await redis.zrem(keys.pendingApprovals(), id));
    }
    found = ids.length;
  }
}

/** The approval as it is once its time was looked at. */
export async function expireIfDue(
  parts: ExpiryParts,
  id: string,
  record: ApprovalRecord,
): Promise<ApprovalRecord> {
  if (record.state !== 'pending' || record.expiresAt > Date.now()) return record;
  await expireApproval(parts, id, record);
  return (await readApproval(parts.redis, id)) ?? record;
}

/** False where its job does not wait for it. */
async function expireApproval(
  { redis, entrance, onExpired, log }: ExpiryParts,
  id: string,
  approval: ApprovalRecord,
): Promise<boolean> {
  const job = await readRecord(redis, approval.job);
  if (job?.state !== 'awaiting_approval') return false;
  const nowMs = Date.now();
  const mayStart = approval.onExpire === 'approve' && job.expiresAt > nowMs;
  log.info({ approval: id, job: approval.job, mayStart }, 'an approval was not decided in time');
  if (mayStart) {
    const approved = await approve(redis, {
      id,
      job: approval.job,
      tenant: approval.tenant,
      voter: null,
      decision: {
        decision: 'approve',
        by: null,
        at: new Date(nowMs).toISOString(),
        reason: 'not decided in time',
        edit: [],
      },
      fingerprint: approval.fingerprint,
      edit: null,
      nowMs,
    });
    if (approved.kind === 'released') {
      entrance.release(approved.entries);
      onExpired?.({ approval: id, job: approval.job, isReleased: true });
    }
    return true;
  }
  const outcome: Outcome =
    approval.onExpire === 'approve'
      ? { kind: 'expired' }
      : { kind: 'denied', rule: approval.rule, reason: NOT_IN_TIME };
  const { as, released } = await settleWithoutRun(redis, {
    id: approval.job,
    record: job,
    outcome,
    approval: { as: 'expired', decision: null },
  });
  entrance.release(released);
  if (as === 'settled') onExpired?.({ approval: id, job: approval.job, isReleased: false });
  return true;
}
