/** Approvals as the queue's functions take them, with what a test does not care about filled in. */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Admission } from '../../../shared/queue/admit.ts';
import { admitJob } from '../../../shared/queue/admit.ts';
import type { NewApproval } from '../../../shared/queue/approval-record.ts';
import { type Approval, type Approved, approve } from '../../../shared/queue/approve.ts';
import { admission } from './job.ts';

export const newApproval = (over: Partial<NewApproval> = {}): NewApproval => ({
  id: `apr_${randomBytes(16).toString('hex')}`,
  batch: null,
  grant: 'asker-key',
  name: 'user:asker',
  rule: 'big-jobs',
  reason: 'too big',
  approvers: [],
  quorum: 1,
  mayEdit: [],
  notify: [],
  createdAtMs: Date.now(),
  expiresAtMs: Date.now() + 30_000,
  onExpire: 'deny',
  rememberMs: 0,
  fingerprint: 'f'.repeat(64),
  revision: 'r1',
  shown: '{"command":["true"]}',
  request: null,
  forgetBeforeMs: 0,
  ...over,
});

export interface Parked {
  readonly job: string;
  readonly approval: NewApproval;
}

/** Admits a job that awaits its approval. */
export async function parked(
  redis: Redis,
  over: Partial<NewApproval> = {},
  job: Partial<Admission> = {},
): Promise<Parked> {
  const approval = newApproval(over);
  const admitted = admission({ ...job, approval });
  const reply = await admitJob(redis, admitted);
  if (reply.kind !== 'awaiting_approval') throw new Error(`not parked: ${reply.kind}`);
  return { job: admitted.id, approval };
}

/** One person's yes. */
export const yes = (
  redis: Redis,
  { job, approval }: Parked,
  over: Partial<Approval> = {},
): Promise<Approved> => {
  const voter = over.voter === undefined ? 'user:boss' : over.voter;
  return approve(redis, {
    id: approval.id,
    job,
    tenant: 'default',
    voter,
    decision: {
      decision: 'approve',
      by: voter === null ? null : { grant: `key-of-${voter}`, name: voter },
      at: new Date().toISOString(),
      reason: null,
      edit: [],
    },
    fingerprint: approval.fingerprint,
    edit: null,
    nowMs: Date.now(),
    ...over,
  });
};
