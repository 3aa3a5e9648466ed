import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Lane } from '../../../shared/contract/lane.ts';
import { createEntrance } from '../../../shared/queue/entrance.ts';
import { readQueueAges } from '../../../shared/queue/queue-age.ts';
import { admitted } from './job.ts';
import { silent, startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());

const NOW = 1_800_000_000_000;

async function waits(lane: Lane, priority: number, sinceMs: number): Promise<void> {
  const id = await admitted(redis, { lane, acceptedAtMs: NOW - sinceMs });
  const entrance = createEntrance({ redis, log: silent });
  await entrance.add([{ id, lane, priority }]);
  await entrance.stop();
}

it('an empty queue has waited for no time', async () => {
  expect(await readQueueAges(redis, NOW)).toEqual({ interactive: 0, bulk: 0 });
});

it('the age of a queue is the wait of the job whose turn is next, lane by lane', async () => {
  await waits('interactive', 1, 700);
  await waits('interactive', 2, 90_000);
  await waits('bulk', 7, 5_000);
  expect(await readQueueAges(redis, NOW)).toEqual({ interactive: 700, bulk: 5_000 });
});

it('a job without a record, and one from a clock that is ahead, have waited for no time', async () => {
  await waits('bulk', 1, -5_000);
  const entrance = createEntrance({ redis, log: silent });
  await entrance.add([{ id: 'job_bare', lane: 'interactive', priority: 1 }]);
  await entrance.stop();
  expect(await readQueueAges(redis, NOW)).toEqual({ interactive: 0, bulk: 0 });
});
