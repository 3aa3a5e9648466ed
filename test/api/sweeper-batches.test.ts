import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createCanceller } from '../../services/api/canceller.ts';
import { createSweeper, OPEN_BATCH_MS } from '../../services/api/sweeper.ts';
import { isOver, readBatch, sealBatch, stopBatch } from '../../shared/queue/batch-record.ts';
import { createEntrance, type Entrance, UNQUEUED_AFTER_MS } from '../../shared/queue/entrance.ts';
import { keys } from '../../shared/queue/keys.ts';
import { prioritizedKey } from '../../shared/queue/queue-age.ts';
import { settleJob } from '../../shared/queue/settle.ts';
import { batchJob, batchJobs, created, idsOf, released, runToEnd } from '../shared/queue/batch.ts';
import { createTaker, type Taker } from '../shared/queue/bull.ts';
import { admitted, begin, begun, settlement } from '../shared/queue/job.ts';
import { eventually, silent, startRedis, type TestRedis } from '../shared/queue/redis.ts';

let server: TestRedis;
let redis: Redis;
let entrance: Entrance;
let taker: Taker;
let sweeper: ReturnType<typeof createSweeper>;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(async () => {
  await redis.flushall();
  entrance = createEntrance({ redis, log: silent });
  entrance.start();
  taker = createTaker(await server.connect(), 'bulk');
  const canceller = createCanceller({ redis, entrance, log: silent });
  sweeper = createSweeper({ redis, entrance, canceller, log: silent });
  sweeper.start();
});
afterEach(async () => {
  await sweeper.stop();
  await taker.stop();
  await entrance.stop();
});

const SWEEPS_WITHIN_MS = 20_000;
/** Long enough ago for a mark to be taken for forgotten. */
const longAgo = () => Date.now() - 2 * UNQUEUED_AFTER_MS;
const inQueue = () => redis.zrange(prioritizedKey('bulk'), 0, -1);
async function takeNext(): Promise<string> {
  const taken: string[] = [];
  const take = async (): Promise<boolean> => {
    const id = await taker.take();
    if (id !== undefined) taken.push(id);
    return id !== undefined;
  };
  await eventually('a job in the queue', take, SWEEPS_WITHIN_MS);
  return taken[0] as string;
}
const stateOf = async (batch: string) => (await readBatch(redis, batch))?.view.state;
const isBatchOver = async (id: string): Promise<boolean> => {
  const batch = await readBatch(redis, id);
  return batch !== undefined && isOver(batch);
};

describe('a process that dies between a settlement and the queue', () => {
  it('stalls no batch: the sweep puts what was let in into the queue, to the last job', async () => {
    const batch = await created(redis, { window: 2 });
    const jobs = batchJobs(6);
    await released(redis, batch, jobs, { acceptedAtMs: longAgo() });
    await sealBatch(redis, batch);
    const order: string[] = [];
    while (order.length < 6) {
      const id = await takeNext();
      const start = await begun(redis, id);
      // What this end lets in is never told to the queue.
      await settleJob(redis, settlement(id, start, { finishedAtMs: longAgo() }));
      order.push(id);
    }
    expect(order).toEqual(jobs.map(({ id }) => id));
    expect(await stateOf(batch)).toBe('done');
  });

  it('stalls no tenant that runs as many jobs as it may', async () => {
    const share = { cost: 1, maxOpenJobs: 10, maxRunningJobs: 1 };
    const capped = () => admitted(redis, { lane: 'bulk', share, acceptedAtMs: longAgo() });
    const [first, second] = [await capped(), await capped()];
    const start = await begun(redis, first);
    expect(await begin(redis, second)).toEqual({ kind: 'parked' });
    const end = settlement(first, start, { finishedAtMs: longAgo() });
    expect(idsOf(await settleJob(redis, end))).toEqual([second]);
    await eventually(
      'the parked job in the queue',
      async () => (await inQueue()).includes(second),
      SWEEPS_WITHIN_MS,
    );
  });
});

describe('a parked job', () => {
  it('that is let in while its worker has not yet taken it out of the queue is not lost', async () => {
    const share = { cost: 1, maxOpenJobs: 10, maxRunningJobs: 1 };
    const [first, second] = [
      await admitted(redis, { lane: 'bulk', share }),
      await admitted(redis, { lane: 'bulk', share }),
    ];
    await entrance.add([{ id: second, lane: 'bulk', priority: 2 }]);
    const start = await begun(redis, first);
    const held = await taker.hold();
    expect(await begin(redis, held.id)).toEqual({ kind: 'parked' });
    const { released: entries } = await settleJob(redis, settlement(first, start));
    expect(entries).toMatchObject([{ id: second, isBack: true }]);
    await entrance.add(entries);
    entrance.release(entries);
    await held.end();
    expect(await inQueue()).toEqual([]);
    expect(await takeNext()).toBe(second);
    expect(await begun(redis, second)).toBe(1);
  });
});

describe('the sweep of batches', () => {
  it('puts what an end by the sweep itself lets in into the queue', async () => {
    const batch = await created(redis, { window: 1 });
    const jobs = [batchJob(0, { expiresAtMs: Date.now() - 1 }), batchJob(1)];
    await released(redis, batch, jobs);
    await eventually(
      'the second in the queue',
      async () => (await inQueue()).includes(jobs[1]?.id as string),
      SWEEPS_WITHIN_MS,
    );
    expect((await readBatch(redis, batch))?.view.outcomes.expired).toBe(1);
  });

  it('cancels an upload that nobody went on with, and leaves one alone that may be taken up again', async () => {
    const forsaken = await created(redis);
    const fresh = await created(redis);
    await released(redis, forsaken, batchJobs(3));
    await released(redis, fresh, batchJobs(3));
    await redis.zadd(keys.openBatches(), Date.now() - OPEN_BATCH_MS - 1000, forsaken);
    await redis.zadd(keys.openBatches(), Date.now() - OPEN_BATCH_MS + 60_000, fresh);
    await eventually('the end', () => isBatchOver(forsaken), SWEEPS_WITHIN_MS);
    expect((await readBatch(redis, forsaken))?.view).toMatchObject({
      state: 'cancelled',
      outcomes: { cancelled: 3 },
    });
    expect(await stateOf(fresh)).toBe('open');
    expect(await redis.zrange(keys.openBatches(), 0, -1)).toEqual([fresh]);
  });

  it('cancels the rest of a batch that stops on its first failure', async () => {
    const batch = await created(redis, { stopOnFirstFailure: true });
    const [first] = (await released(redis, batch, batchJobs(9))) as [string];
    await sealBatch(redis, batch);
    await runToEnd(redis, first, 1);
    await eventually('the end', () => isBatchOver(batch), SWEEPS_WITHIN_MS);
    expect((await readBatch(redis, batch))?.view.outcomes).toMatchObject({
      exited_nonzero: 1,
      cancelled: 8,
    });
    await eventually('nothing to stop', async () => !(await redis.exists(keys.stoppingBatches())));
  });

  it('finishes a cancellation that another process left undone', async () => {
    const batch = await created(redis);
    await released(redis, batch, batchJobs(5));
    await stopBatch(redis, batch);
    await eventually('the end', () => isBatchOver(batch), SWEEPS_WITHIN_MS);
    await eventually('nothing to stop', async () => !(await redis.exists(keys.stoppingBatches())));
  });
});
