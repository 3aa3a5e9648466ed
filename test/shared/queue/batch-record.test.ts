import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { batchView, OUTCOME_COUNTS } from '../../../shared/contract/batch.ts';
import type { Outcome } from '../../../shared/contract/result.ts';
import {
  createBatch,
  isOver,
  readBatch,
  sealBatch,
  stopBatch,
} from '../../../shared/queue/batch-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { everyOutcome } from '../contract/outcomes.ts';
import {
  aBatch,
  batchJobs,
  cancelQueued,
  created,
  newBatchId,
  released,
  runToEnd,
} from './batch.ts';
import { begun, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());

async function read(id: string) {
  const batch = await readBatch(redis, id);
  if (batch === undefined) throw new Error(`no batch ${id}`);
  expect(batchView.parse(batch.view)).toEqual(batch.view);
  return { ...batch, state: batch.view.state, counts: batch.view.counts, isOver: isOver(batch) };
}

const lifeOf = (id: string) =>
  Promise.all(
    [keys.batch(id), keys.batchJobs(id), keys.batchDone(id)].map((key) => redis.pttl(key)),
  );

describe('a batch', () => {
  it('reads back as it was made: open, without jobs, with every outcome at 0', async () => {
    const id = await created(redis, { tenant: 't', options: '{"maxParallel":3}' });
    expect(await read(id)).toMatchObject({
      tenant: 't',
      options: '{"maxParallel":3}',
      isSealed: false,
      isOver: false,
      state: 'open',
      counts: { total: 0, queued: 0, running: 0, done: 0 },
      view: { outcomes: Object.fromEntries(OUTCOME_COUNTS.map((name) => [name, 0])) },
    });
    expect(await redis.zscore(keys.openBatches(), id)).not.toBeNull();
  });

  it('that is not there is undefined', async () => {
    expect(await readBatch(redis, newBatchId())).toBeUndefined();
    expect(await stopBatch(redis, newBatchId())).toBe(false);
    await sealBatch(redis, newBatchId());
    expect(await redis.keys('*')).toEqual([]);
  });

  it('counts its jobs as they start and end', async () => {
    const id = await created(redis);
    const [first, second] = (await released(redis, id, batchJobs(3))) as [string, string];
    expect((await read(id)).counts).toEqual({ total: 3, queued: 3, running: 0, done: 0 });
    const start = await begun(redis, first);
    expect((await read(id)).counts).toEqual({ total: 3, queued: 2, running: 1, done: 0 });
    await settle(redis, first, start);
    await cancelQueued(redis, second);
    const { counts, view } = await read(id);
    expect(counts).toEqual({ total: 3, queued: 1, running: 0, done: 2 });
    expect(view.outcomes).toMatchObject({ exited_zero: 1, cancelled: 1, exited_nonzero: 0 });
  });

  it.each(everyOutcome.map((outcome) => [JSON.stringify(outcome), outcome] as [string, Outcome]))(
    'counts the outcome %s once, under a name of the contract',
    async (_, outcome) => {
      const id = await created(redis);
      const [job] = (await released(redis, id, batchJobs(1))) as [string];
      await settle(redis, job, await begun(redis, job), { outcome });
      const { view } = await read(id);
      expect(Object.values(view.outcomes).reduce((sum, count) => sum + count, 0)).toBe(1);
    },
  );
});

describe('the state of a batch', () => {
  it('is open until it is sealed, also when all its jobs have ended', async () => {
    const id = await created(redis);
    const [job] = (await released(redis, id, batchJobs(1))) as [string];
    await runToEnd(redis, job);
    expect(await read(id)).toMatchObject({ state: 'open', isOver: false });
    await sealBatch(redis, id);
    expect(await read(id)).toMatchObject({ state: 'done', isOver: true });
  });

  it('is running from the seal to the end of the last job', async () => {
    const id = await created(redis);
    const [first, last] = (await released(redis, id, batchJobs(2))) as [string, string];
    await sealBatch(redis, id);
    expect(await read(id)).toMatchObject({ state: 'running', isOver: false });
    await runToEnd(redis, first);
    expect(await read(id)).toMatchObject({ state: 'running', isOver: false });
    await runToEnd(redis, last, 1);
    expect(await read(id)).toMatchObject({ state: 'done', isOver: true });
  });

  it('is cancelled from the stop on, and over once its jobs have ended and it is sealed', async () => {
    const id = await created(redis);
    const [first, last] = (await released(redis, id, batchJobs(2))) as [string, string];
    const start = await begun(redis, first);
    expect(await stopBatch(redis, id)).toBe(true);
    expect(await redis.smembers(keys.stoppingBatches())).toEqual([id]);
    await cancelQueued(redis, last);
    await sealBatch(redis, id);
    expect(await read(id)).toMatchObject({ state: 'cancelled', isOver: false });
    await settle(redis, first, start);
    expect(await read(id)).toMatchObject({ state: 'cancelled', isOver: true });
  });

  it('is done for one without jobs as soon as it is sealed', async () => {
    const id = await created(redis);
    await sealBatch(redis, id);
    expect(await read(id)).toMatchObject({ state: 'done', isOver: true });
  });

  it('changes no more once it is over: a stop comes too late', async () => {
    const id = await created(redis);
    await sealBatch(redis, id);
    expect(await stopBatch(redis, id)).toBe(false);
    expect(await read(id)).toMatchObject({ state: 'done' });
    expect(await redis.scard(keys.stoppingBatches())).toBe(0);
  });
});

describe('the record of a batch', () => {
  it('lives without bound while it is open or running, and for its retention from its end on', async () => {
    const id = await created(redis, { retainMs: 5_000 });
    const [first, last] = (await released(redis, id, batchJobs(2))) as [string, string];
    await runToEnd(redis, first);
    await sealBatch(redis, id);
    expect(await lifeOf(id)).toEqual([-1, -1, -1]);
    await runToEnd(redis, last);
    for (const leftMs of await lifeOf(id)) {
      expect(leftMs).toBeGreaterThan(0);
      expect(leftMs).toBeLessThanOrEqual(5_000);
    }
  });

  it('lives for its retention from the seal on, when that came last', async () => {
    const id = await created(redis, { retainMs: 5_000 });
    const [job] = (await released(redis, id, batchJobs(1))) as [string];
    await runToEnd(redis, job);
    expect(await lifeOf(id)).toEqual([-1, -1, -1]);
    await sealBatch(redis, id);
    const before = await lifeOf(id);
    expect(Math.min(...before)).toBeGreaterThan(0);
    expect(Math.max(...before)).toBeLessThanOrEqual(5_000);
    expect(await redis.zscore(keys.openBatches(), id)).toBeNull();
  });
});

describe('an Idempotency-Key of a batch', () => {
  const idempotency = { key: 'k', body: 'b' };

  it('answers with the batch that is there, whatever has become of it', async () => {
    const id = await created(redis, { idempotency });
    const again = aBatch({ idempotency });
    expect(await createBatch(redis, again)).toEqual({ kind: 'repeated', id });
    await sealBatch(redis, id);
    expect(await createBatch(redis, again)).toEqual({ kind: 'repeated', id });
    expect(await readBatch(redis, again.id)).toBeUndefined();
  });

  it('is refused for other options, and is one of its tenant alone', async () => {
    await created(redis, { idempotency });
    const other = aBatch({ idempotency: { ...idempotency, body: 'other' } });
    expect(await createBatch(redis, other)).toEqual({ kind: 'key_reused' });
    expect(await readBatch(redis, other.id)).toBeUndefined();
    expect(await createBatch(redis, { ...other, tenant: 'two' })).toMatchObject({
      kind: 'created',
    });
  });

  it('makes a new batch when the one that it made is gone', async () => {
    const id = await created(redis, { idempotency });
    await redis.del(keys.batch(id));
    const again = aBatch({ idempotency });
    expect(await createBatch(redis, again)).toEqual({ kind: 'created', id: again.id });
  });

  it('makes one batch of many requests at once', async () => {
    const replies = await Promise.all(
      Array.from({ length: 20 }, () => createBatch(redis, aBatch({ idempotency }))),
    );
    expect(replies.filter(({ kind }) => kind === 'created')).toHaveLength(1);
    expect(new Set(replies.map((reply) => 'id' in reply && reply.id)).size).toBe(1);
    expect(await redis.zcard(keys.openBatches())).toBe(1);
  });
});
