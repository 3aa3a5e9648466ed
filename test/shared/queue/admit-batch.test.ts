import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readBatch, sealBatch, stopBatch } from '../../../shared/queue/batch-record.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { batchJob, batchJobs, created, newBatchId, released, runToEnd, sendJobs } from './batch.ts';
import { admitted } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());

const totalOf = async (id: string) => (await readBatch(redis, id))?.view.counts.total;
const openOf = async (tenant: string) =>
  Number((await redis.hget(keys.tenantsOpen(), tenant)) ?? 0);

/** Everything in Redis but the time at which an upload was last heard of. */
async function snapshot(): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const key of (await redis.keys('*')).toSorted()) {
    if (key !== keys.openBatches()) all[key] = (await redis.dump(key)) ?? '';
  }
  return all;
}

describe('jobs of a batch', () => {
  it('are recorded as they were given, open, counted and listed in their order', async () => {
    const batch = await created(redis, { tenant: 't' });
    const jobs = [
      batchJob(0, { key: 'a b', lane: 'interactive', labels: { x: '1' }, budgetMs: 7 }),
      batchJob(1),
    ] as const;
    const share = { cost: 0.5, maxOpenJobs: 9, maxRunningJobs: 3 };
    await released(redis, batch, jobs, { tenant: 't', acceptedAtMs: 1234, share });
    expect(await readRecord(redis, jobs[0].id)).toMatchObject({
      tenant: 't',
      state: 'queued',
      acceptedAt: 1234,
      expiresAt: jobs[0].expiresAtMs,
      retainMs: 60_000,
      budgetMs: 7,
      labels: { x: '1' },
      lane: 'interactive',
      batch,
      starts: 0,
    });
    expect(await redis.hmget(keys.job(jobs[0].id), 'index', 'key', 'cost', 'cap', 'spec')).toEqual([
      '0',
      'a b',
      '0.5',
      '3',
      jobs[0].spec,
    ]);
    expect(await redis.hmget(keys.job(jobs[1].id), 'index', 'key')).toEqual(['1', null]);
    expect(await redis.lrange(keys.batchJobs(batch), 0, -1)).toEqual(jobs.map(({ id }) => id));
    expect(await redis.zscore(keys.open(), jobs[1].id)).toBe(String(jobs[1].expiresAtMs));
    expect(await openOf('t')).toBe(2);
    expect(await totalOf(batch)).toBe(2);
  });

  it.each([' a', 'a ', '\n', '\u0000', 'é 𝄞', 'bulk x', '"'])('keep the key %j', async (key) => {
    const batch = await created(redis);
    const job = batchJob(0, { key });
    await released(redis, batch, [job]);
    expect(await redis.hmget(keys.job(job.id), 'key', 'lane')).toEqual([key, 'bulk']);
    await runToEnd(redis, job.id);
    expect(await redis.lrange(keys.batchDone(batch), 0, -1)).toEqual([`0 ${key}`]);
  });

  it('that are none change nothing, and are accepted', async () => {
    const batch = await created(redis);
    const before = await snapshot();
    const nothing = { kind: 'accepted', added: 0, known: [], released: [] };
    expect(await sendJobs(redis, batch, [])).toEqual(nothing);
    expect(await snapshot()).toEqual(before);
  });
});

describe('a job that is there already', () => {
  it('is not doubled, in one call or across calls, and the new ones beside it are added', async () => {
    const batch = await created(redis);
    const jobs = batchJobs(3);
    const [first, second] = jobs as [(typeof jobs)[0], (typeof jobs)[0]];
    const twice = await sendJobs(redis, batch, [first, first, second]);
    expect(twice).toMatchObject({ added: 2, known: [1] });
    expect(await sendJobs(redis, batch, jobs)).toMatchObject({ added: 1, known: [0, 1] });
    expect(await sendJobs(redis, batch, jobs)).toEqual({
      kind: 'accepted',
      added: 0,
      known: [0, 1, 2],
      released: [],
    });
    expect(await totalOf(batch)).toBe(3);
    expect(await openOf('default')).toBe(3);
    expect(await redis.llen(keys.batchJobs(batch))).toBe(3);
  });

  it('is not made anew when it was forgotten since it was looked for', async () => {
    const batch = await created(redis);
    const job = batchJob(0, { spec: '' });
    expect(await sendJobs(redis, batch, [job])).toMatchObject({ added: 0, known: [0] });
    expect(await redis.exists(keys.job(job.id))).toBe(0);
  });

  it('is not run again when it is done', async () => {
    const batch = await created(redis);
    const jobs = batchJobs(2);
    const [first] = (await released(redis, batch, jobs)) as [string];
    await runToEnd(redis, first);
    expect(await released(redis, batch, jobs)).toEqual([]);
    expect(await readRecord(redis, first)).toMatchObject({ state: 'done' });
  });

  it('is accepted also when the batch takes no more, is full or is cancelled', async () => {
    const batch = await created(redis);
    const jobs = batchJobs(2);
    await released(redis, batch, jobs);
    expect(await sendJobs(redis, batch, jobs, { maxOpenJobs: 0 })).toMatchObject({ added: 0 });
    await stopBatch(redis, batch);
    await sealBatch(redis, batch);
    expect(await sendJobs(redis, batch, jobs)).toMatchObject({ kind: 'accepted', added: 0 });
  });

  it('is a sign of life of its upload', async () => {
    const batch = await created(redis);
    const jobs = batchJobs(1);
    await released(redis, batch, jobs, { acceptedAtMs: 1000 });
    await released(redis, batch, jobs, { acceptedAtMs: 2000 });
    expect(await redis.zscore(keys.openBatches(), batch)).toBe('2000');
    await sealBatch(redis, batch);
    await released(redis, batch, jobs, { acceptedAtMs: 3000 });
    expect(await redis.zscore(keys.openBatches(), batch)).toBeNull();
  });
});

describe('all of a call or nothing', () => {
  const refused = async (
    as: Awaited<ReturnType<typeof sendJobs>>,
    ...call: Parameters<typeof sendJobs> extends [unknown, ...infer Rest] ? Rest : never
  ): Promise<void> => {
    const before = await snapshot();
    expect(await sendJobs(redis, ...call)).toEqual(as);
    expect(await snapshot()).toEqual(before);
  };

  it('is accepted where a key belongs to another job, in the same call', async () => {
    const batch = await created(redis);
    const one = batchJob(1, { key: 'k', digest: 'one' });
    const jobs = [batchJob(0), one, { ...one, index: 2, digest: 'other' }];
    await refused({ kind: 'key_reused', index: 2 }, batch, jobs);
  });

  it('is accepted where a key belongs to another job, of an earlier call', async () => {
    const batch = await created(redis);
    const one = batchJob(0, { key: 'k', digest: 'one' });
    await released(redis, batch, [one]);
    const other = { ...one, index: 2, digest: 'other' };
    await refused({ kind: 'key_reused', index: 2 }, batch, [batchJob(1), other]);
  });

  it('is accepted where the server has no room for all of the new ones', async () => {
    const batch = await created(redis);
    const [first, ...rest] = batchJobs(4) as [ReturnType<typeof batchJob>];
    await admitted(redis);
    await released(redis, batch, [first]);
    await refused({ kind: 'full' }, batch, [first, ...rest], { maxOpenJobs: 4 });
    // Those that are there take no room again.
    expect(await sendJobs(redis, batch, [first, ...rest], { maxOpenJobs: 5 })).toMatchObject({
      added: 3,
    });
  });

  it('is accepted where the tenant has no room for all of the new ones', async () => {
    const batch = await created(redis);
    const most = (maxOpenJobs: number) => ({
      share: { cost: 1, maxOpenJobs, maxRunningJobs: null },
    });
    await admitted(redis, { tenant: 'other' });
    await admitted(redis);
    const jobs = batchJobs(3);
    await refused({ kind: 'tenant_full' }, batch, jobs, most(3));
    expect(await sendJobs(redis, batch, jobs, most(4))).toMatchObject({ added: 3 });
    expect(await openOf('default')).toBe(4);
    expect(await openOf('other')).toBe(1);
  });

  it('is accepted by a batch that was sealed, cancelled or never made', async () => {
    const sealed = await created(redis);
    await sealBatch(redis, sealed);
    const stopped = await created(redis);
    await stopBatch(redis, stopped);
    for (const batch of [sealed, stopped, newBatchId()]) {
      await refused({ kind: 'closed' }, batch, batchJobs(2));
    }
  });
});
