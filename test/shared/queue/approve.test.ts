import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readApproval } from '../../../shared/queue/approval-record.ts';
import { type EditedJob, findRemembered } from '../../../shared/queue/approve.ts';
import { readBatch, sealBatch } from '../../../shared/queue/batch-record.ts';
import { readRecord, turnOf } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { newApproval, parked, yes } from './approval.ts';
import { batchJob, batchJobs, cancelQueued, created, idsOf, released, runToEnd } from './batch.ts';
import { admitted, begin, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());

const waiting = () => redis.hget(keys.lane('interactive'), 'waiting');

describe('a job that awaits its approval', () => {
  it('is open and listed, and is in no lane, has no mark and cannot begin', async () => {
    const { job, approval } = await parked(redis);
    expect(await readRecord(redis, job)).toMatchObject({
      state: 'awaiting_approval',
      needsApproval: approval.id,
      starts: 0,
    });
    expect(await redis.zscore(keys.open(), job)).not.toBeNull();
    expect(await redis.hget(keys.tenantsOpen(), 'default')).toBe('1');
    expect(await redis.zrange(keys.tenantJobs('default'), 0, -1)).toEqual([job]);
    expect(await redis.zcard(keys.unqueued())).toBe(0);
    expect(await redis.exists(keys.lane('interactive'))).toBe(0);
    expect(await begin(redis, job)).toEqual({ kind: 'not_wanted' });
    expect(await readRecord(redis, job)).toMatchObject({ state: 'awaiting_approval', starts: 0 });
  });

  it('counts towards what its tenant may have', async () => {
    await parked(redis);
    const share = { cost: 1, maxOpenJobs: 1, maxRunningJobs: null };
    await expect(admitted(redis, { share })).rejects.toThrow('tenant_full');
  });

  it('is recorded together with its approval, or not at all', async () => {
    const approval = newApproval();
    await expect(parked(redis, approval, { maxOpenJobs: 0 })).rejects.toThrow('full');
    expect(await readApproval(redis, approval.id)).toBeUndefined();
    expect(await redis.keys('*')).toEqual([]);
  });

  it('that is sent again under its key makes no second approval', async () => {
    const idempotency = { key: 'k', body: 'b' };
    await parked(redis, {}, { idempotency });
    await expect(parked(redis, {}, { idempotency })).rejects.toThrow('repeated');
    expect(await redis.zcard(keys.pendingApprovals())).toBe(1);
  });

  it('once approved enters its lane, with a mark for the sweep until it is in the queue', async () => {
    await admitted(redis);
    const one = await parked(redis);
    const reply = await yes(redis, one);
    const record = await readRecord(redis, one.job);
    expect(record).toMatchObject({ state: 'queued', approval: 'approved' });
    expect(reply).toEqual({
      kind: 'released',
      entries: [{ ...turnOf(one.job, record), isBack: false }],
    });
    expect(await waiting()).toBe('2');
    expect(await redis.zscore(keys.unqueued(), one.job)).not.toBeNull();
    expect(await redis.zscore(keys.pendingApprovals(), one.approval.id)).toBeNull();
    const { state, decidedAt, decisions } = (await readApproval(redis, one.approval.id)) ?? {};
    expect({ state, decisions: decisions?.length }).toEqual({ state: 'approved', decisions: 1 });
    expect(decidedAt).toBeGreaterThan(0);
    expect(await redis.pttl(keys.approval(one.approval.id))).toBeGreaterThan(6 * 24 * 3_600_000);
    expect((await begin(redis, one.job)).kind).toBe('started');
  });

  it.each([
    ['denied', { kind: 'denied', rule: 'r', reason: 'no' }],
    ['cancelled', { kind: 'cancelled', by: 'caller' }],
    ['expired', { kind: 'expired' }],
  ] as const)('that ends takes its approval with it: %s', async (as, outcome) => {
    const { job, approval } = await parked(redis, { request: '{}' });
    const end = { from: 'awaiting_approval', outcome, approval: { as, decision: null } } as const;
    expect(await settle(redis, job, null, end)).toBe('settled');
    expect(await readApproval(redis, approval.id)).toMatchObject({ state: as });
    expect((await readApproval(redis, approval.id))?.request).toBeUndefined();
    expect(await redis.zcard(keys.pendingApprovals())).toBe(0);
    expect(await redis.exists(keys.tenantsOpen())).toBe(0);
    expect(await yes(redis, { job, approval })).toEqual({ kind: 'decided' });
    expect(await readRecord(redis, job)).toMatchObject({ state: 'done', outcome });
  });
});

describe('an approval', () => {
  it('that twenty give at once releases the job once', async () => {
    const hands = await Promise.all(Array.from({ length: 20 }, () => server.connect()));
    const one = await parked(redis);
    const replies = await Promise.all(
      hands.map((hand, index) => yes(hand, one, { voter: `user:${index}` })),
    );
    expect(replies.filter(({ kind }) => kind === 'released')).toHaveLength(1);
    expect(replies.filter(({ kind }) => kind === 'decided')).toHaveLength(19);
    expect(await waiting()).toBe('1');
    for (const hand of hands) hand.disconnect();
  });

  it('needs as many people as the quorum, each of whom counts once', async () => {
    const one = await parked(redis, { quorum: 3 });
    expect(await yes(redis, one, { voter: 'user:a' })).toEqual({ kind: 'counted' });
    expect(await yes(redis, one, { voter: 'user:a' })).toEqual({ kind: 'counted' });
    expect(await yes(redis, one, { voter: 'user:b' })).toEqual({ kind: 'counted' });
    expect((await readApproval(redis, one.approval.id))?.decisions).toHaveLength(2);
    expect((await yes(redis, one, { voter: 'user:c' })).kind).toBe('released');
  });

  it('is not taken for another version of the job than was shown', async () => {
    const one = await parked(redis);
    expect(await yes(redis, one, { fingerprint: 'e'.repeat(64) })).toEqual({ kind: 'changed' });
    expect(await readRecord(redis, one.job)).toMatchObject({ state: 'awaiting_approval' });
  });

  it('of time alone needs no quorum and is not remembered', async () => {
    const one = await parked(redis, { quorum: 2, rememberMs: 60_000 });
    expect((await yes(redis, one, { voter: null })).kind).toBe('released');
    const { tenant, fingerprint } = { tenant: 'default', ...one.approval };
    expect(await findRemembered(redis, { tenant, fingerprint })).toBeUndefined();
    expect((await readApproval(redis, one.approval.id))?.decisions).toMatchObject([{ by: null }]);
  });

  it('is remembered for as long as it says, for its tenant and fingerprint alone', async () => {
    const one = await parked(redis, { rememberMs: 60_000 });
    await yes(redis, one);
    const { fingerprint, id } = one.approval;
    expect(await findRemembered(redis, { tenant: 'default', fingerprint })).toBe(id);
    expect(await findRemembered(redis, { tenant: 'other', fingerprint })).toBeUndefined();
    expect(
      await findRemembered(redis, { tenant: 'default', fingerprint: 'e'.repeat(64) }),
    ).toBeUndefined();
    const leftMs = await redis.pttl(keys.remembered('default', fingerprint));
    expect(leftMs).toBeGreaterThan(50_000);
    expect(leftMs).toBeLessThanOrEqual(60_000);
  });

  it('with an edit replaces the job, and takes back what others approved before', async () => {
    const one = await parked(redis, { quorum: 2, request: '{"timeoutMs":9}' });
    await yes(redis, one, { voter: 'user:a' });
    const job: EditedJob = {
      spec: '{"b":2}',
      image: 'python',
      runtime: 'runc',
      labels: { a: 'b' },
      retainMs: 1234,
      budgetMs: 4321,
      signature: 'k:s',
    };
    const fingerprint = 'e'.repeat(64);
    const edit = { job, fingerprint, shown: '{"timeoutMs":5}', request: '{"timeoutMs":5}' };
    expect(await yes(redis, one, { voter: 'user:b', edit })).toEqual({ kind: 'counted' });
    expect(await yes(redis, one, { voter: 'user:a' })).toEqual({ kind: 'changed' });
    expect(await readApproval(redis, one.approval.id)).toMatchObject({
      fingerprint,
      shown: { timeoutMs: 5 },
      request: { timeoutMs: 5 },
    });
    expect((await yes(redis, one, { voter: 'user:a', fingerprint })).kind).toBe('released');
    const begun = await begin(redis, one.job);
    expect(begun).toMatchObject({
      kind: 'started',
      spec: '{"b":2}',
      record: { image: 'python', labels: { a: 'b' }, retainMs: 1234, budgetMs: 4321 },
    });
    expect(await redis.hget(keys.job(one.job), 'signature')).toBe('k:s');
  });
});

describe('in a batch', () => {
  const withApproval = (index: number, batch: string) =>
    batchJob(index, { approval: newApproval({ batch }) });

  it('a job that awaits its approval lets those behind it pass, and is next once approved', async () => {
    const batch = await created(redis, { window: 1 });
    const held = withApproval(0, batch);
    const others = batchJobs(2, 1);
    const first = await released(redis, batch, [held, ...others]);
    expect(first).toEqual([others[0]?.id]);
    expect((await readBatch(redis, batch))?.view.counts).toMatchObject({ total: 3, queued: 3 });

    const one = { job: held.id, approval: held.approval as NonNullable<typeof held.approval> };
    expect(await yes(redis, one)).toEqual({ kind: 'released', entries: [] });
    expect(idsOf(await runToEnd(redis, first[0] as string))).toEqual([held.id]);
    expect(idsOf(await runToEnd(redis, held.id))).toEqual([others[1]?.id]);
    await runToEnd(redis, others[1]?.id as string);
    await sealBatch(redis, batch);
    expect((await readBatch(redis, batch))?.view).toMatchObject({
      state: 'done',
      counts: { done: 3 },
    });
  });

  it('one that is approved before its turn takes its turn', async () => {
    const batch = await created(redis, { window: 1 });
    const [first] = batchJobs(1);
    const held = withApproval(1, batch);
    await released(redis, batch, [first as NonNullable<typeof first>, held]);
    const one = { job: held.id, approval: held.approval as NonNullable<typeof held.approval> };
    expect(await yes(redis, one)).toEqual({ kind: 'released', entries: [] });
    expect(idsOf(await runToEnd(redis, first?.id as string))).toEqual([held.id]);
  });

  it('one that is the last of all enters the queue at once', async () => {
    const batch = await created(redis, { window: 1 });
    const held = withApproval(0, batch);
    expect(await released(redis, batch, [held])).toEqual([]);
    await sealBatch(redis, batch);
    const one = { job: held.id, approval: held.approval as NonNullable<typeof held.approval> };
    const reply = await yes(redis, one);
    expect(reply).toMatchObject({ kind: 'released', entries: [{ id: held.id, lane: 'bulk' }] });
    await runToEnd(redis, held.id);
    expect((await readBatch(redis, batch))?.view.state).toBe('done');
  });

  it('none that is cancelled after its approval holds the next ones back', async () => {
    const batch = await created(redis, { window: 1 });
    const held = withApproval(0, batch);
    const others = batchJobs(2, 1);
    const [first] = await released(redis, batch, [held, ...others]);
    await yes(redis, { job: held.id, approval: held.approval as never });
    await cancelQueued(redis, held.id);
    expect(idsOf(await runToEnd(redis, first as string))).toEqual([others[1]?.id]);
    await runToEnd(redis, others[1]?.id as string);
    await sealBatch(redis, batch);
    const ttls = (await redis.keys(`${keys.batch(batch)}*`)).map((key) => redis.pttl(key));
    for (const ttl of await Promise.all(ttls)) expect(ttl).toBeGreaterThan(0);
  });

  it('a denied job ends a batch that stops on the first failure', async () => {
    const batch = await created(redis, { stopOnFirstFailure: true });
    const held = withApproval(0, batch);
    await released(redis, batch, [held, ...batchJobs(2, 1)]);
    await settle(redis, held.id, null, {
      from: 'awaiting_approval',
      outcome: { kind: 'denied', rule: 'r', reason: 'no' },
    });
    expect(await redis.smembers(keys.stoppingBatches())).toEqual([batch]);
  });
});
