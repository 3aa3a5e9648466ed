import { Queue } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCanceller } from '../../services/api/canceller.ts';
import { createSweeper } from '../../services/api/sweeper.ts';
import { jobResult } from '../../shared/contract/result.ts';
import { handBackJob } from '../../shared/queue/begin.ts';
import { createEntrance, type Entrance } from '../../shared/queue/entrance.ts';
import { readRecord } from '../../shared/queue/job-record.ts';
import { keys } from '../../shared/queue/keys.ts';
import { QUEUE_PREFIX } from '../../shared/queue/options.ts';
import { admitted, begin, begun, newId } from '../shared/queue/job.ts';
import { eventually, silent, startRedis, type TestRedis } from '../shared/queue/redis.ts';

const MINUTE_MS = 60_000;
let server: TestRedis;
let queue: Queue;
let entrance: Entrance;
let sweeper: ReturnType<typeof createSweeper>;
const now = Date.now();
const ids: Record<string, string> = {};

function aSweeper() {
  const { redis } = server;
  const canceller = createCanceller({ redis, entrance, log: silent });
  return createSweeper({ redis, entrance, canceller, log: silent });
}

/** Every kind of job at once; one sweep is to leave each as it should be. */
beforeAll(async () => {
  server = await startRedis();
  const { redis } = server;
  queue = new Queue('interactive', { connection: await server.connect(), prefix: QUEUE_PREFIX });
  await queue.waitUntilReady();
  const old = { acceptedAtMs: now - MINUTE_MS };
  ids.forgotten = await admitted(redis, old);
  ids.fresh = await admitted(redis, { acceptedAtMs: Date.now() + MINUTE_MS });
  ids.expired = await admitted(redis, { ...old, expiresAtMs: now - 1000 });
  ids.runningExpired = await admitted(redis, { ...old, expiresAtMs: now + 200 });
  await begun(redis, ids.runningExpired);
  ids.overdue = await admitted(redis, { ...old, budgetMs: 1 });
  await begin(redis, ids.overdue, 'silent', now - MINUTE_MS);
  ids.running = await admitted(redis, old);
  await begun(redis, ids.running);
  ids.handedBack = await admitted(redis, { ...old, expiresAtMs: now + 200 });
  const start = await begun(redis, ids.handedBack);
  await handBackJob(redis, { id: ids.handedBack, start, ran: 'yes' });
  ids.gone = newId();
  await redis.zadd(keys.open(), 1, ids.gone);
  await redis.zadd(keys.running(), 1, ids.gone);
  await new Promise((resolve) => setTimeout(resolve, 250));
  entrance = createEntrance({ redis, log: silent });
  entrance.start();
  sweeper = aSweeper();
  sweeper.start();
  await eventually(
    'a sweep',
    async () => (await redis.zscore(keys.running(), ids.gone as string)) === null,
  );
  await sweeper.stop();
});
afterAll(async () => {
  await entrance.stop();
  await queue.close();
  await server.stop();
});

const recordOf = (name: string) => readRecord(server.redis, ids[name] as string);
const resultOf = async (name: string) => {
  const json = await server.redis.get(keys.result(ids[name] as string));
  return json === null ? null : jobResult.parse(JSON.parse(json));
};

describe('the sweep of the API', () => {
  it('puts a job into the queue that was recorded but never got there', async () => {
    const job = await queue.getJob(ids.forgotten as string);
    expect(job?.data).toEqual({});
    expect(await recordOf('forgotten')).toMatchObject({ state: 'queued' });
    await eventually(
      'its mark gone',
      async () => (await server.redis.zscore(keys.unqueued(), ids.forgotten as string)) === null,
    );
  });

  it('leaves alone a job that is still on its way into the queue', async () => {
    expect(await queue.getJob(ids.fresh as string)).toBeUndefined();
  });

  it('settles a queued job whose time to start is over', async () => {
    expect(await resultOf('expired')).toMatchObject({
      outcome: { kind: 'expired' },
      ran: 'no',
      retryable: true,
    });
    expect(await recordOf('expired')).toMatchObject({ state: 'done' });
  });

  it('leaves alone a job that started in time', async () => {
    expect(await recordOf('runningExpired')).toMatchObject({ state: 'running' });
    expect(await recordOf('running')).toMatchObject({ state: 'running' });
  });

  it('leaves alone a job that started in time and was handed back: a worker takes it up again', async () => {
    expect(await resultOf('handedBack')).toBeNull();
    expect(await recordOf('handedBack')).toMatchObject({ state: 'queued', starts: 1 });
  });

  it('settles a job whose worker fell silent past every limit as lost', async () => {
    expect(await resultOf('overdue')).toMatchObject({
      outcome: { kind: 'lost', cause: 'worker_lost' },
      fault: 'platform',
      ran: 'unknown',
      worker: 'silent',
    });
  });

  it('forgets what has no record any more', async () => {
    expect(await server.redis.zscore(keys.open(), ids.gone as string)).toBeNull();
  });

  it('that is repeated changes nothing', async () => {
    const before = await resultOf('overdue');
    const jobsBefore = await queue.getJobCounts();
    const again = aSweeper();
    again.start();
    await new Promise((resolve) => setTimeout(resolve, 2_300));
    await again.stop();
    expect(await resultOf('overdue')).toEqual(before);
    expect((await queue.getJobCounts()).prioritized).toBe(jobsBefore.prioritized);
  });

  it('stops though it was never started', async () => {
    await aSweeper().stop();
  });
});
