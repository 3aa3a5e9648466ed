import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readBatch, sealBatch, stopBatch } from '../../../shared/queue/batch-record.ts';
import { handBackJob } from '../../../shared/queue/begin.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { BATCH_WINDOW, RELEASE_CHUNK } from '../../../shared/queue/options.ts';
import { batchJobs, cancelQueued, created, idsOf, released, runToEnd, windowOf } from './batch.ts';
import { begin, begun, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());

const idsIn = (jobs: readonly { id: string }[]): string[] => jobs.map(({ id }) => id);

describe('the window of a batch', () => {
  it('lets in the first jobs alone, with a turn and a mark; the others are held, without either', async () => {
    const batch = await created(redis, { window: 4 });
    const jobs = batchJobs(10);
    expect(await released(redis, batch, jobs)).toEqual(idsIn(jobs.slice(0, 4)));
    expect(await windowOf(redis, batch)).toEqual({ out: 4, released: 4, running: 0 });
    expect(await redis.zrange(keys.unqueued(), 0, -1)).toEqual(
      expect.arrayContaining(idsIn(jobs.slice(0, 4))),
    );
    expect(await redis.zcard(keys.unqueued())).toBe(4);
    const held = await readRecord(redis, jobs[4]?.id as string);
    expect(held).toMatchObject({ state: 'queued' });
    expect(held?.tag).toBeUndefined();
    expect(await redis.hget(keys.lane('bulk'), 'waiting')).toBe('4');
  });

  it('holds BATCH_WINDOW jobs at most, and is filled again by chunks', async () => {
    const batch = await created(redis, { window: BATCH_WINDOW });
    const jobs = batchJobs(BATCH_WINDOW + 300);
    const queue: string[] = [];
    for (let at = 0; at < jobs.length; at += 500) {
      queue.push(...(await released(redis, batch, jobs.slice(at, at + 500))));
    }
    expect(queue).toEqual(idsIn(jobs.slice(0, BATCH_WINDOW)));
    for (let ended = 1; ended < RELEASE_CHUNK; ended++) {
      expect(idsOf(await runToEnd(redis, queue.shift() as string))).toEqual([]);
    }
    const next = idsOf(await runToEnd(redis, queue.shift() as string));
    expect(next).toEqual(idsIn(jobs.slice(BATCH_WINDOW, BATCH_WINDOW + RELEASE_CHUNK)));
    expect(await windowOf(redis, batch)).toMatchObject({ out: BATCH_WINDOW });
  });

  it.each([1, 2, 3, 5])(
    'of %i runs no more jobs than that, and all in their order',
    async (window) => {
      const batch = await created(redis, { window });
      const jobs = batchJobs(23);
      const queue = await released(redis, batch, jobs);
      const order: string[] = [];
      for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
        const { out } = await windowOf(redis, batch);
        expect(out).toBeLessThanOrEqual(window);
        expect(queue.length + 1).toBe(out);
        order.push(id);
        queue.push(...idsOf(await runToEnd(redis, id)));
      }
      expect(order).toEqual(idsIn(jobs));
      expect(await windowOf(redis, batch)).toEqual({ out: 0, released: 23, running: 0 });
    },
  );

  it('that has room lets in what arrives later at once', async () => {
    const batch = await created(redis, { window: 4 });
    const [first] = await released(redis, batch, batchJobs(2));
    expect(await released(redis, batch, batchJobs(3, 2))).toHaveLength(2);
    await runToEnd(redis, first as string);
    expect(await released(redis, batch, batchJobs(5, 5))).toHaveLength(0);
    expect(await windowOf(redis, batch)).toEqual({ out: 4, released: 5, running: 0 });
  });

  it('counts a job that runs or was handed back, until it ends', async () => {
    const batch = await created(redis, { window: 1 });
    const [id] = (await released(redis, batch, batchJobs(2))) as [string];
    const start = await begun(redis, id);
    expect(await windowOf(redis, batch)).toEqual({ out: 1, released: 1, running: 1 });
    await handBackJob(redis, { id, start, ran: 'yes' });
    expect(await windowOf(redis, batch)).toEqual({ out: 1, released: 1, running: 0 });
    const again = await begun(redis, id);
    expect(await settle(redis, id, again)).toBe('settled');
    expect(await windowOf(redis, batch)).toEqual({ out: 1, released: 2, running: 0 });
  });

  it('counts a job once whose worker was lost, however often it begins', async () => {
    const batch = await created(redis, { window: 2 });
    const [id] = (await released(redis, batch, batchJobs(3))) as [string];
    await begun(redis, id, 'lost');
    await begun(redis, id, 'other');
    expect((await readBatch(redis, batch))?.view.counts).toMatchObject({ running: 1, queued: 2 });
    expect(await redis.hget(keys.tenantsRunning(), 'default')).toBe('1');
  });
});

describe('a held job that was cancelled alone', () => {
  it('is passed over, and the one behind it is let in', async () => {
    const batch = await created(redis, { window: 1 });
    const jobs = batchJobs(4);
    const [first] = (await released(redis, batch, jobs)) as [string];
    expect(idsOf(await cancelQueued(redis, jobs[1]?.id as string))).toEqual([]);
    expect(idsOf(await cancelQueued(redis, jobs[2]?.id as string))).toEqual([]);
    expect(idsOf(await runToEnd(redis, first))).toEqual([jobs[3]?.id]);
  });

  it('does not stall the batch, though a whole window of such jobs comes one after another', async () => {
    const batch = await created(redis, { window: 8 });
    const jobs = batchJobs(600);
    const queue = await released(redis, batch, jobs);
    for (const { id } of jobs.slice(8, 590)) {
      expect(idsOf(await cancelQueued(redis, id))).toEqual([]);
    }
    let ended = 0;
    for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
      queue.push(...idsOf(await runToEnd(redis, id)));
      ended++;
    }
    expect(ended).toBe(18);
    const counts = (await readBatch(redis, batch))?.view.counts;
    expect(counts).toEqual({ total: 600, queued: 0, running: 0, done: 600 });
  });

  it('that was in the window gives its place to the next', async () => {
    const batch = await created(redis, { window: 1 });
    const jobs = batchJobs(3);
    const [first] = (await released(redis, batch, jobs)) as [string];
    expect(idsOf(await cancelQueued(redis, first))).toEqual([jobs[1]?.id]);
    expect(await begin(redis, first)).toEqual({ kind: 'not_wanted' });
  });
});

describe('a batch that is to stop', () => {
  it('lets nothing in any more, whatever ends', async () => {
    const batch = await created(redis, { window: 2 });
    const [first, second] = (await released(redis, batch, batchJobs(6))) as [string, string];
    const start = await begun(redis, first);
    await stopBatch(redis, batch);
    expect(await begin(redis, second)).toMatchObject({ kind: 'cancelled' });
    expect(idsOf(await cancelQueued(redis, second))).toEqual([]);
    expect(await settle(redis, first, start)).toBe('settled');
    expect(await windowOf(redis, batch)).toEqual({ out: 0, released: 2, running: 0 });
  });

  it.each([
    ['exits with 1', { kind: 'exited', exitCode: 1 }],
    ['times out', { kind: 'timed_out', limit: 'wall' }],
    ['is cancelled', { kind: 'cancelled', by: 'caller' }],
  ] as const)('is one that stops on the first failure, once a job %s', async (_, outcome) => {
    const batch = await created(redis, { window: 2, stopOnFirstFailure: true });
    const [first, second] = (await released(redis, batch, batchJobs(5))) as [string, string];
    expect(idsOf(await runToEnd(redis, first))).toHaveLength(1);
    await settle(redis, second, await begun(redis, second), { outcome });
    expect(await redis.smembers(keys.stoppingBatches())).toEqual([batch]);
    expect((await readBatch(redis, batch))?.view.state).toBe('cancelled');
    expect(await windowOf(redis, batch)).toMatchObject({ released: 3 });
  });

  it('is over with its last job, when nothing of it was left to stop', async () => {
    const batch = await created(redis, { stopOnFirstFailure: true });
    const [only] = (await released(redis, batch, batchJobs(1))) as [string];
    await sealBatch(redis, batch);
    await runToEnd(redis, only, 1);
    expect((await readBatch(redis, batch))?.view.counts).toMatchObject({ total: 1, done: 1 });
    expect(await redis.pttl(keys.batch(batch))).toBeGreaterThan(0);
  });
});
