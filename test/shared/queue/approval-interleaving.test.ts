import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApprovalState } from '../../../shared/contract/approval.ts';
import type { Outcome } from '../../../shared/contract/result.ts';
import { readApproval } from '../../../shared/queue/approval-record.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { type Parked, parked, yes } from './approval.ts';
import { begin, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let hands: Redis[];
beforeAll(async () => {
  server = await startRedis();
  hands = await Promise.all([0, 1, 2].map(() => server.connect()));
});
afterAll(() => server.stop());

const DENIED: Outcome = { kind: 'denied', rule: 'r', reason: 'no' };
const CANCELLED: Outcome = { kind: 'cancelled', by: 'caller' };
const ENDS = {
  deny: ['denied', DENIED],
  cancel: ['cancelled', CANCELLED],
  expire: ['expired', DENIED],
} as const;

/** What approvers, the owner, time and a worker may do to one job, in any order and any number of times. */
const act = fc.oneof(
  fc.record({ kind: fc.constant('approve' as const), hand: fc.nat(2) }),
  fc.record({ kind: fc.constantFrom('deny', 'cancel', 'expire'), hand: fc.nat(2) }),
  fc.record({ kind: fc.constant('time_approves' as const), hand: fc.nat(2) }),
  fc.record({ kind: fc.constant('work' as const), hand: fc.nat(2) }),
);
type Act = typeof act extends fc.Arbitrary<infer A> ? A : never;

/** Does one thing, and says what came of it. */
async function perform(one: Parked, { kind, hand }: Act): Promise<string> {
  const redis = hands[hand] as Redis;
  switch (kind) {
    case 'approve':
      return (await yes(redis, one, { voter: `user:${hand}` })).kind;
    case 'time_approves':
      return (await yes(redis, one, { voter: null })).kind;
    case 'work': {
      const begun = await begin(redis, one.job);
      return begun.kind === 'started' ? settle(redis, one.job, begun.start) : begun.kind;
    }
    default: {
      const [as, outcome] = ENDS[kind];
      const record = await readRecord(redis, one.job);
      // As the routes do: only a cancellation ends a job that waits no longer for its approval.
      const from = kind === 'cancel' ? (record?.state ?? 'done') : 'awaiting_approval';
      if (from === 'running' || from === 'done') return 'late';
      const approval = { as, decision: null };
      const reply = await settle(redis, one.job, null, { from, outcome, approval });
      return reply === 'settled' && from === 'awaiting_approval' ? `${reply}:${as}` : reply;
    }
  }
}

async function checkEnd(one: Parked, replies: readonly string[]): Promise<void> {
  const releases = replies.filter((reply) => reply === 'released');
  const ends = replies.filter((reply) => reply.startsWith('settled:'));
  expect(releases.length + ends.length).toBeLessThanOrEqual(1);
  expect(replies.filter((reply) => reply.startsWith('settled')).length).toBeLessThanOrEqual(1);
  const approval = await readApproval(server.redis, one.approval.id);
  const job = await readRecord(server.redis, one.job);
  const ended = ends[0]?.slice('settled:'.length) as ApprovalState | undefined;
  expect(approval?.state).toBe(releases.length > 0 ? 'approved' : (ended ?? 'pending'));
  expect(job?.state === 'awaiting_approval').toBe(approval?.state === 'pending');
  if (ended !== undefined) expect(job).toMatchObject({ state: 'done', starts: 0 });
  expect(job?.tag !== undefined).toBe(job?.state === 'queued');
  const [pending, open, mark] = await Promise.all([
    server.redis.zscore(keys.pendingApprovals(), one.approval.id),
    server.redis.zscore(keys.open(), one.job),
    server.redis.zscore(keys.unqueued(), one.job),
  ]);
  expect(pending !== null).toBe(approval?.state === 'pending');
  expect(open !== null).toBe(job?.state !== 'done');
  expect(mark !== null).toBe(job?.state === 'queued');
}

describe('approvers, the owner, time and a worker at one job', () => {
  it('end its approval once, in any order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(act, { maxLength: 12 }),
        async (quorum, acts) => {
          const one = await parked(server.redis, { quorum });
          const replies: string[] = [];
          for (const each of acts) replies.push(await perform(one, each));
          await checkEnd(one, replies);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('end its approval once when they act at the same time', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.array(act, { minLength: 1, maxLength: 6 }), { maxLength: 4 }),
        async (quorum, rounds) => {
          const one = await parked(server.redis, { quorum });
          const replies: string[] = [];
          for (const round of rounds) {
            replies.push(...(await Promise.all(round.map((each) => perform(one, each)))));
          }
          await checkEnd(one, replies);
        },
      ),
      { numRuns: 200 },
    );
  });
});
