import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createCanceller } from '../../services/api/canceller.ts';
import { jobResult } from '../../shared/contract/result.ts';
import { isOver, readBatch, sealBatch, stopBatch } from '../../shared/queue/batch-record.ts';
import { handBackJob } from '../../shared/queue/begin.ts';
import { createEntrance, type Entrance } from '../../shared/queue/entrance.ts';
import { readRecord } from '../../shared/queue/job-record.ts';
import { channels, keys } from '../../shared/queue/keys.ts';
import { prioritizedKey } from '../../shared/queue/queue-age.ts';
import { settleWithoutRun } from '../../shared/queue/settle-without-run.ts';
import { batchJobs, created, newBatchId, released } from '../shared/queue/batch.ts';
import { admitted, begin, begun, settle } from '../shared/queue/job.ts';
import { eventually, silent, startRedis, type TestRedis } from '../shared/queue/redis.ts';

let server: TestRedis;
let redis: Redis;
let worker: Redis;
let entrance: Entrance;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
  worker = await server.connect();
});
afterAll(() => server.stop());
beforeEach(async () => {
  await redis.flushall();
  entrance = createEntrance({ redis, log: silent });
});
afterEach(() => entrance.stop());

const aCanceller = () => createCanceller({ redis, entrance, log: silent });

/** A batch with jobs that run, wait in the queue and are held. */
async function aBatchOf(count: number, window: number) {
  const batch = await created(redis, { window });
  const jobs = batchJobs(count);
  const queued = await released(redis, batch, jobs);
  return { batch, ids: jobs.map(({ id }) => id), queued };
}

const viewOf = async (batch: string) => (await readBatch(redis, batch))?.view;
const isBatchOver = async (id: string): Promise<boolean> => {
  const batch = await readBatch(redis, id);
  return batch !== undefined && isOver(batch);
};

describe('cancelling the jobs of a batch', () => {
  it('ends those in the queue and those that are held, each with a result that says so', async () => {
    const { batch, ids } = await aBatchOf(700, 3);
    await stopBatch(redis, batch);
    await aCanceller().cancel(batch);
    expect(await viewOf(batch)).toMatchObject({
      state: 'cancelled',
      counts: { total: 700, queued: 0, running: 0, done: 700 },
      outcomes: { cancelled: 700 },
    });
    for (const id of [ids[0], ids[699]] as string[]) {
      const result = jobResult.parse(JSON.parse((await redis.get(keys.result(id))) as string));
      expect(result).toMatchObject({ outcome: { kind: 'cancelled', by: 'caller' }, ran: 'no' });
    }
    expect(await redis.exists(keys.open(), keys.unqueued(), keys.tenantsOpen())).toBe(0);
    expect(await redis.exists(keys.lane('bulk'), keys.stoppingBatches())).toBe(0);
  });

  it('marks those that run and tells their workers; it is finished once they have ended', async () => {
    const { batch, ids } = await aBatchOf(5, 2);
    const [first] = ids as [string];
    const start = await begun(redis, first);
    const told: string[] = [];
    const ear = await server.connect();
    await ear.subscribe(channels.cancels());
    ear.on('message', (_, id) => told.push(id));
    await stopBatch(redis, batch);
    await aCanceller().cancel(batch);
    await eventually('its worker told', () => told.length > 0);
    expect(told).toEqual([`${first} caller`]);
    expect(await readRecord(redis, first)).toMatchObject({
      state: 'running',
      cancelledBy: 'caller',
    });
    expect(await viewOf(batch)).toMatchObject({ counts: { running: 1, done: 4 } });
    expect(await redis.smembers(keys.stoppingBatches())).toEqual([batch]);
    const outcome = { kind: 'cancelled', by: 'caller' } as const;
    await settle(redis, first, start, { outcome });
    expect(await isBatchOver(batch)).toBe(true);
    await aCanceller().cancel(batch);
    expect(await redis.scard(keys.stoppingBatches())).toBe(0);
  });

  it('ends every job once while workers begin and end others', async () => {
    const { batch, ids, queued } = await aBatchOf(400, 100);
    await sealBatch(redis, batch);
    const canceller = aCanceller();
    const work = async (): Promise<void> => {
      for (let id = queued.shift(); id !== undefined; id = queued.shift()) {
        const reply = await begin(worker, id);
        if (reply.kind === 'started') await settle(worker, id, reply.start);
        if (reply.kind !== 'cancelled') continue;
        const outcome = { kind: 'cancelled', by: 'caller' } as const;
        await settleWithoutRun(worker, { id, record: reply.record, outcome });
      }
    };
    const working = Promise.all([work(), work(), work()]);
    await eventually('a few ended', async () => (await redis.llen(keys.batchDone(batch))) > 5);
    await stopBatch(redis, batch);
    await Promise.all([canceller.cancel(batch), canceller.cancel(batch), working]);
    expect(await isBatchOver(batch)).toBe(true);
    const view = await viewOf(batch);
    const { exited_zero: ended = 0, cancelled = 0 } = view?.outcomes ?? {};
    expect(ended).toBeGreaterThan(5);
    expect(ended + cancelled).toBe(ids.length);
    const places = (await redis.lrange(keys.batchDone(batch), 0, -1)).map(Number);
    expect(new Set(places).size).toBe(ids.length);
    expect(places).toHaveLength(ids.length);
  });

  it('is done by two processes at once as by one', async () => {
    const { batch } = await aBatchOf(600, 50);
    await stopBatch(redis, batch);
    const other = createCanceller({ redis: worker, entrance, log: silent });
    await Promise.all([aCanceller().cancel(batch), other.cancel(batch)]);
    expect(await viewOf(batch)).toMatchObject({ counts: { total: 600, done: 600 } });
    expect(await redis.llen(keys.batchDone(batch))).toBe(600);
  });

  it('is one pass for calls that come together', async () => {
    const { batch } = await aBatchOf(10, 5);
    await stopBatch(redis, batch);
    const canceller = aCanceller();
    expect(canceller.cancel(batch)).toBe(canceller.cancel(batch));
    await canceller.stop();
  });

  it('lets in what a cancelled job kept out: the parked job of a tenant that may run one', async () => {
    const share = { cost: 1, maxOpenJobs: 10, maxRunningJobs: 1 };
    const batch = await created(redis);
    const [back] = (await released(redis, batch, batchJobs(1), { share })) as [string];
    const parked = await admitted(redis, { lane: 'bulk', share });
    const start = await begun(redis, back);
    expect(await begin(redis, parked)).toEqual({ kind: 'parked' });
    await handBackJob(redis, { id: back, start, ran: 'no' });
    await stopBatch(redis, batch);
    await aCanceller().cancel(batch);
    await eventually('the parked job in the queue', async () =>
      (await redis.zrange(prioritizedKey('bulk'), 0, -1)).includes(parked),
    );
  });

  it('seals an upload that nobody goes on with', async () => {
    const { batch } = await aBatchOf(3, 5);
    await stopBatch(redis, batch);
    expect(await redis.zcard(keys.openBatches())).toBe(1);
    await aCanceller().cancel(batch);
    expect(await redis.zcard(keys.openBatches())).toBe(0);
    expect(await redis.pttl(keys.batch(batch))).toBeGreaterThan(0);
  });

  it('forgets a batch that is gone', async () => {
    const gone = newBatchId();
    await redis.sadd(keys.stoppingBatches(), gone);
    await aCanceller().cancel(gone);
    expect(await redis.scard(keys.stoppingBatches())).toBe(0);
  });

  it('that is broken off is finished by the next one', async () => {
    const { batch } = await aBatchOf(3_000, 10);
    await stopBatch(redis, batch);
    const canceller = aCanceller();
    const pass = canceller.cancel(batch);
    await canceller.stop();
    await pass;
    expect((await viewOf(batch))?.counts.done).toBeLessThan(3_000);
    expect(await redis.smembers(keys.stoppingBatches())).toEqual([batch]);
    await aCanceller().cancel(batch);
    expect((await viewOf(batch))?.counts.done).toBe(3_000);
  });
});
