import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createPressure, type Pressure } from '../../services/api/pressure.ts';
import type { Lane } from '../../shared/contract/lane.ts';
import type { AppError } from '../../shared/errors.ts';
import { createMetrics } from '../../shared/metrics.ts';
import { createEntrance } from '../../shared/queue/entrance.ts';
import { prioritizedKey } from '../../shared/queue/queue-age.ts';
import { admitted } from '../shared/queue/job.ts';
import { eventually, silent, startRedis, type TestRedis } from '../shared/queue/redis.ts';

const MIB = 1024 * 1024;
let server: TestRedis;
let redis: Redis;
const started: Pressure[] = [];
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());
afterEach(() => {
  for (const pressure of started.splice(0)) pressure.stop();
});

function aPressure(over: { maxRedisBytes?: number; maxQueueAgeMs?: number } = {}) {
  const metrics = createMetrics();
  const settings = { maxRedisBytes: 4096 * MIB, maxQueueAgeMs: 600_000, ...over };
  const pressure = createPressure({ redis, settings, metrics, log: silent });
  started.push(pressure);
  pressure.start();
  return { pressure, metrics };
}

const refusalOf = (pressure: Pressure, lane: Lane = 'bulk'): AppError | undefined => {
  try {
    pressure.require(lane);
    return undefined;
  } catch (error) {
    return error as AppError;
  }
};

const refuses = (pressure: Pressure, lane?: Lane): Promise<void> =>
  eventually('a refusal', () => refusalOf(pressure, lane) !== undefined);
const letsGo = (pressure: Pressure, lane?: Lane): Promise<void> =>
  eventually('no refusal', () => refusalOf(pressure, lane) === undefined);

const usedBytes = async (): Promise<number> =>
  Number((await redis.info('memory')).match(/^used_memory:(\d+)/m)?.[1]);

describe('the memory of Redis', () => {
  it('over its bound refuses both lanes with a time to come back, and lets go again', async () => {
    const { pressure, metrics } = aPressure({ maxRedisBytes: (await usedBytes()) + 20 * MIB });
    await letsGo(pressure);
    await redis.set('large', Buffer.alloc(40 * MIB));
    await refuses(pressure);
    for (const lane of ['bulk', 'interactive'] as const) {
      expect(refusalOf(pressure, lane)).toMatchObject({
        code: 'OVERLOADED',
        retryAfterSeconds: 5,
        message: expect.stringMatching(/^Redis holds \d+ of \d+ bytes$/),
      });
    }
    const scraped = Number((await metrics.text()).match(/redis_used_bytes (\d+)/)?.[1]);
    expect(scraped).toBeGreaterThan(40 * MIB);
    await redis.del('large');
    await letsGo(pressure);
  });

  it('is bounded by Redis’ own maxmemory, when that is less', async () => {
    const { pressure } = aPressure();
    await redis.set('large', Buffer.alloc(30 * MIB));
    await redis.config('SET', 'maxmemory', 32 * MIB);
    try {
      await refuses(pressure);
    } finally {
      await redis.config('SET', 'maxmemory', 0);
    }
    await letsGo(pressure);
  });
});

describe('the age of the interactive queue', () => {
  it('over its bound refuses that lane alone, and lets go again', async () => {
    const { pressure, metrics } = aPressure({ maxQueueAgeMs: 60_000 });
    const entrance = createEntrance({ redis, log: silent });
    for (const lane of ['interactive', 'bulk'] as const) {
      const id = await admitted(redis, { lane, acceptedAtMs: Date.now() - 90_000 });
      await entrance.add([{ id, lane, priority: 1 }]);
    }
    await entrance.stop();
    await refuses(pressure, 'interactive');
    expect(refusalOf(pressure, 'interactive')).toMatchObject({
      code: 'OVERLOADED',
      retryAfterSeconds: 5,
      message: expect.stringMatching(/^jobs wait for 9\d s already$/),
    });
    expect(refusalOf(pressure, 'bulk')).toBeUndefined();
    expect(await metrics.text()).toMatch(/queue_age_seconds\{lane="bulk"\} 9\d/);
    await redis.del(prioritizedKey('interactive'));
    await letsGo(pressure, 'interactive');
  });
});

describe('a process that is late', () => {
  it('refuses while its loop is blocked again and again, and lets go again', async () => {
    const { pressure } = aPressure();
    await eventually(
      'a refusal',
      () => {
        const until = performance.now() + 1_200;
        while (performance.now() < until);
        return refusalOf(pressure) !== undefined;
      },
      30_000,
    );
    expect(refusalOf(pressure)).toMatchObject({
      code: 'OVERLOADED',
      message: expect.stringMatching(/^this process is \d+ ms late$/),
    });
    await letsGo(pressure);
  });
});

describe('a look that fails', () => {
  it('changes nothing: what was seen last counts, and the next look is another', async () => {
    const { pressure } = aPressure({ maxRedisBytes: (await usedBytes()) + 20 * MIB });
    await redis.set('large', Buffer.alloc(40 * MIB));
    await refuses(pressure);
    await redis.del('large');
    const { pipeline } = redis;
    let failures = 0;
    redis.pipeline = () => {
      failures++;
      throw new Error('away');
    };
    await eventually('two failed looks', () => failures >= 2);
    expect(refusalOf(pressure)).toMatchObject({ code: 'OVERLOADED' });
    redis.pipeline = pipeline;
    await letsGo(pressure);
  });
});
