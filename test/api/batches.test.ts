import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createBatches } from '../../services/api/batches.ts';
import { createCanceller } from '../../services/api/canceller.ts';
import { sealBatch } from '../../shared/queue/batch-record.ts';
import { createEntrance, type Entrance } from '../../shared/queue/entrance.ts';
import { keys } from '../../shared/queue/keys.ts';
import { batchJobs, created, newBatchId, released, runToEnd } from '../shared/queue/batch.ts';
import { begun } from '../shared/queue/job.ts';
import { eventually, silent, startRedis, type TestRedis } from '../shared/queue/redis.ts';

const caller = { tenant: 'default' };
const MINUTE_MS = 60_000;
let server: TestRedis;
let redis: Redis;
let entrance: Entrance;
let closing: AbortController;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(async () => {
  await redis.flushall();
  closing = new AbortController();
  entrance = createEntrance({ redis, log: silent });
});
afterEach(() => entrance.stop());

function someBatches() {
  const canceller = createCanceller({ redis, entrance, log: silent });
  return createBatches({ redis, canceller, closing: closing.signal, log: silent });
}

async function aBatch(count: number): Promise<{ id: string; jobs: string[] }> {
  const id = await created(redis);
  const jobs = await released(redis, id, batchJobs(count));
  await sealBatch(redis, id);
  return { id, jobs };
}

describe('a batch', () => {
  it('is answered at once as it is, to whoever does not wait', async () => {
    const { id } = await aBatch(2);
    expect(await someBatches().get(caller, id, 0)).toMatchObject({ id, state: 'running' });
  });

  it('is answered to whoever waits once its last job has ended', async () => {
    const { id, jobs } = await aBatch(2);
    const waiting = someBatches().get(caller, id, MINUTE_MS);
    for (const job of jobs) await runToEnd(redis, job);
    expect(await waiting).toMatchObject({ state: 'done', counts: { total: 2, done: 2 } });
  });

  it('is answered as it is when the wait is over, and when the server stops', async () => {
    const { id } = await aBatch(1);
    expect(await someBatches().get(caller, id, 120)).toMatchObject({ state: 'running' });
    const waiting = someBatches().get(caller, id, MINUTE_MS);
    closing.abort();
    expect(await waiting).toMatchObject({ state: 'running' });
  });

  it('is nobody else’s: not to read, not to wait for, not to cancel', async () => {
    const { id } = await aBatch(1);
    const other = { tenant: 'other' };
    const batches = someBatches();
    for (const refused of [
      batches.own(other, id),
      batches.get(other, id, 0),
      batches.cancel(other, id),
      batches.get(caller, newBatchId(), 0),
      batches.cancel(caller, newBatchId()),
    ]) {
      await expect(refused).rejects.toMatchObject({ code: 'NOT_FOUND' });
    }
    expect((await batches.get(caller, id, 0)).state).toBe('running');
  });
});

describe('cancelling a batch', () => {
  it('is answered at once, and its jobs end behind it', async () => {
    const { id, jobs } = await aBatch(3);
    await begun(redis, jobs[0] as string);
    const batches = someBatches();
    expect(await batches.cancel(caller, id)).toMatchObject({ state: 'cancelled' });
    await eventually(
      'those that wait are cancelled',
      async () => (await batches.get(caller, id, 0)).outcomes.cancelled === 2,
    );
    expect(await redis.hget(keys.job(jobs[0] as string), 'cancelledBy')).toBe('caller');
  });

  it('changes nothing when it is done again, or comes after the end', async () => {
    const batches = someBatches();
    const { id } = await aBatch(2);
    await batches.cancel(caller, id);
    await eventually('its end', async () => (await batches.get(caller, id, 0)).counts.done === 2);
    expect(await batches.cancel(caller, id)).toMatchObject({
      state: 'cancelled',
      outcomes: { cancelled: 2 },
    });
    const { id: done, jobs } = await aBatch(1);
    await runToEnd(redis, jobs[0] as string);
    expect(await batches.cancel(caller, done)).toMatchObject({ state: 'done' });
    expect(await redis.scard(keys.stoppingBatches())).toBe(0);
  });
});
