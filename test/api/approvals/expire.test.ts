import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Expired, expireApprovals } from '../../../services/api/approvals/expire.ts';
import { createCanceller } from '../../../services/api/canceller.ts';
import { createSweeper } from '../../../services/api/sweeper.ts';
import { jobResult } from '../../../shared/contract/result.ts';
import { readApproval } from '../../../shared/queue/approval-record.ts';
import { createEntrance } from '../../../shared/queue/entrance.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { QUEUE_PREFIX } from '../../../shared/queue/options.ts';
import { eventually, silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { type Asked, type Office, openOffice, person } from './parts.ts';

let server: TestRedis;
let redis: Redis;
let office: Office;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(async () => {
  await redis.flushall();
  office = openOffice(redis);
});

const SHORT_MS = 50;
const boss = person('boss');
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const expire = () => expireApprovals(office.parts);
const outcomeOf = async (job: string) =>
  jobResult.parse(JSON.parse((await redis.get(keys.result(job))) ?? 'null')).outcome;

async function askedLongAgo(asked: Asked = {}) {
  const one = await office.ask({ ...asked, demand: { expiresInMs: SHORT_MS, ...asked.demand } });
  await wait(2 * SHORT_MS);
  return one;
}

describe('an approval whose time is over', () => {
  it('denies the job', async () => {
    const { id, job } = await askedLongAgo();
    await expire();
    expect(await outcomeOf(job)).toEqual({
      kind: 'denied',
      rule: 'big-jobs',
      reason: 'not approved in time',
    });
    expect((await readApproval(redis, id))?.state).toBe('expired');
    expect(await redis.zcard(keys.pendingApprovals())).toBe(0);
  });

  it('is told of once, released or not, for nobody else does', async () => {
    const denied = await askedLongAgo();
    const released = await askedLongAgo({ demand: { onExpire: 'approve' } });
    const expired: Expired[] = [];
    const parts = { ...office.parts, onExpired: (one: Expired) => void expired.push(one) };
    await Promise.all([expireApprovals(parts), expireApprovals(parts)]);
    await expireApprovals(parts);
    const byJob = (job: string) => expired.filter((one) => one.job === job);
    expect(byJob(denied.job)).toEqual([
      { approval: denied.id, job: denied.job, isReleased: false },
    ]);
    expect(byJob(released.job)).toEqual([
      { approval: released.id, job: released.job, isReleased: true },
    ]);
  });

  it('releases the job where the rule says so, and nobody has to have approved', async () => {
    const { id, job } = await askedLongAgo({ demand: { onExpire: 'approve', quorum: 2 } });
    await expire();
    expect((await readRecord(redis, job))?.state).toBe('queued');
    expect(office.entered).toMatchObject([{ id: job }]);
    expect(await readApproval(redis, id)).toMatchObject({
      state: 'approved',
      decisions: [{ by: null, reason: 'not decided in time' }],
    });
  });

  it.each([
    ['deny', 'denied'],
    ['approve', 'expired'],
  ] as const)(
    'ends a job that may not start any more: onExpire %s → %s',
    async (onExpire, kind) => {
      const expiresAtMs = Date.now() + SHORT_MS;
      const { job } = await askedLongAgo({
        job: { expiresAtMs },
        demand: { expiresInMs: 60_000, onExpire },
      });
      await expire();
      expect((await outcomeOf(job))?.kind).toBe(kind);
    },
  );

  it('is not decided any more, though no sweep has come by', async () => {
    const { id, job } = await askedLongAgo();
    const say = { reason: null, edit: null, fingerprint: null };
    await expect(office.approvals.approve(boss, id, say)).rejects.toMatchObject({
      code: 'APPROVAL_DECIDED',
      message: 'expected a pending approval; it is expired',
    });
    expect((await outcomeOf(job))?.kind).toBe('denied');
  });

  it('leaves alone those that have time, and hides none behind one whose job is gone', async () => {
    const fresh = await office.ask();
    await redis.zadd(keys.pendingApprovals(), 1, `apr_${'0'.repeat(32)}`);
    const orphan = await askedLongAgo();
    await redis.del(keys.job(orphan.job));
    const due = await askedLongAgo();
    await expire();
    expect((await outcomeOf(due.job))?.kind).toBe('denied');
    expect(await redis.zrange(keys.pendingApprovals(), 0, -1)).toEqual([fresh.id]);
  });

  it('ends one way when twenty sweeps and an approver meet', async () => {
    const { id, job } = await askedLongAgo();
    const say = { reason: null, edit: null, fingerprint: null };
    await Promise.allSettled([
      ...Array.from({ length: 20 }, expire),
      office.approvals.approve(boss, id, say),
    ]);
    expect((await readApproval(redis, id))?.state).toBe('expired');
    expect((await outcomeOf(job))?.kind).toBe('denied');
    expect(await redis.exists(keys.tenantsOpen())).toBe(0);
  });
});

describe('the sweep', () => {
  const queueOf = async () =>
    new Queue('interactive', { connection: await server.connect(), prefix: QUEUE_PREFIX });

  it('puts an approved job into the queue whose process died before it could', async () => {
    // This office never enters what it releases: as if it were gone.
    const { id, job } = await office.ask();
    await office.approvals.approve(boss, id, { reason: null, edit: null, fingerprint: null });
    await redis.zadd(keys.unqueued(), Date.now() - 60_000, job);
    const queue = await queueOf();
    expect(await queue.getJob(job)).toBeUndefined();
    const entrance = createEntrance({ redis, log: silent });
    entrance.start();
    const canceller = createCanceller({ redis, entrance, log: silent });
    const sweeper = createSweeper({ redis, entrance, canceller, log: silent });
    sweeper.start();
    await eventually('the job in the queue', async () => (await queue.getJob(job)) !== undefined);
    await sweeper.stop();
    await entrance.stop();
    await queue.close();
  });

  it('ends what was not approved in time, leaves what waits, and tells approvers that nobody told', async () => {
    const late = await askedLongAgo();
    const early = await office.ask();
    const entrance = createEntrance({ redis, log: silent });
    const canceller = createCanceller({ redis, entrance, log: silent });
    let told = 0;
    const announceForgotten = async () => void told++;
    const sweeper = createSweeper({ redis, entrance, canceller, announceForgotten, log: silent });
    sweeper.start();
    await eventually('a sweep', () => told > 0);
    await sweeper.stop();
    await entrance.stop();
    expect((await readRecord(redis, late.job))?.state).toBe('done');
    expect((await readRecord(redis, early.job))?.state).toBe('awaiting_approval');
  });
});
