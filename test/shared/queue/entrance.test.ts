import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createEntrance, type Entrance } from '../../../shared/queue/entrance.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { prioritizedKey } from '../../../shared/queue/queue-age.ts';
import { admitted } from './job.ts';
import { eventually, silent, startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());

async function withEntrance(use: (entrance: Entrance) => Promise<void>): Promise<void> {
  const entrance = createEntrance({ redis, log: silent });
  entrance.start();
  try {
    await use(entrance);
  } finally {
    await entrance.stop();
  }
}

const entry = (id: string, priority = 1) => ({ id, lane: 'bulk', priority });
const marks = () => redis.zcard(keys.unqueued());

describe('the way into the queue', () => {
  it('puts each job into the queue of its lane, by its turn', async () => {
    await withEntrance(async (entrance) => {
      await entrance.add([
        entry('late', 9),
        entry('soon', 2),
        { ...entry('other'), lane: 'interactive' },
      ]);
    });
    expect(await redis.zrange(prioritizedKey('bulk'), 0, -1)).toEqual(['soon', 'late']);
    expect(await redis.zrange(prioritizedKey('interactive'), 0, -1)).toEqual(['other']);
  });

  it('changes nothing when it is gone twice, not even with another turn', async () => {
    await withEntrance(async (entrance) => {
      await entrance.add([entry('a', 2), entry('b', 3)]);
      await entrance.add([entry('a', 9)]);
      await entrance.add([entry('b', 1), entry('a', 9)]);
    });
    expect(await redis.zrange(prioritizedKey('bulk'), 0, -1)).toEqual(['a', 'b']);
  });

  it('takes the marks away a little later, and when it stops', async () => {
    await withEntrance(async (entrance) => {
      const id = await admitted(redis, { lane: 'bulk' });
      entrance.release([entry(id)]);
      await eventually('no mark', async () => (await marks()) === 0);
      const last = await admitted(redis, { lane: 'bulk' });
      await entrance.add([entry(last)]);
      entrance.entered([{ id: last }]);
    });
    expect(await marks()).toBe(0);
    expect(await redis.zcard(prioritizedKey('bulk'))).toBe(2);
  });

  it('has let in everything that was released before it stopped', async () => {
    const ids = await Promise.all(
      Array.from({ length: 300 }, () => admitted(redis, { lane: 'bulk' })),
    );
    await withEntrance(async (entrance) => {
      for (const id of ids) entrance.release([entry(id)]);
    });
    expect(await redis.zcard(prioritizedKey('bulk'))).toBe(300);
    expect(await marks()).toBe(0);
  });
});

it('what cannot be put into the queue keeps its mark, for the sweep', async () => {
  const other = await server.connect('request');
  const id = await admitted(redis, { lane: 'bulk' });
  const entrance = createEntrance({ redis: other, log: silent });
  other.disconnect();
  entrance.release([entry(id)]);
  entrance.start();
  await entrance.stop().catch(() => {});
  expect(await marks()).toBe(1);
});
