import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { handBackJob } from '../../../shared/queue/begin.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { settleJob } from '../../../shared/queue/settle.ts';
import { cancelQueued, idsOf } from './batch.ts';
import { admitted, begin, begun, settle, settlement } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());

const T = { tenant: 't' };
const capped = (maxRunningJobs: number | null, count: number): Promise<string[]> =>
  Promise.all(
    Array.from({ length: count }, () =>
      admitted(redis, { ...T, share: { cost: 1, maxOpenJobs: 1000, maxRunningJobs } }),
    ),
  );

const endOf = async (id: string, start: number): Promise<string[]> =>
  idsOf(await settleJob(redis, settlement(id, start)));
const parked = () => redis.lrange(keys.tenantParked('t'), 0, -1);
const running = async () => Number((await redis.hget(keys.tenantsRunning(), 't')) ?? 0);

describe('a tenant that runs as many jobs as it may', () => {
  it('has its next job parked: it leaves the queue, and stays queued', async () => {
    const [first, second] = (await capped(1, 2)) as [string, string];
    await begun(redis, first);
    expect(await begin(redis, second)).toEqual({ kind: 'parked' });
    expect(await readRecord(redis, second)).toMatchObject({ state: 'queued', starts: 0 });
    expect((await readRecord(redis, second))?.tag).toBeUndefined();
    expect(await redis.zscore(keys.unqueued(), second)).toBeNull();
    expect(await parked()).toEqual([second]);
    expect(await running()).toBe(1);
  });

  it('gets them back in the order in which they were parked, one for each that ends', async () => {
    const ids = (await capped(2, 5)) as [string, string, string, string, string];
    const starts = [await begun(redis, ids[0]), await begun(redis, ids[1])];
    for (const id of ids.slice(2)) await begin(redis, id);
    expect(await endOf(ids[0], starts[0] as number)).toEqual([ids[2]]);
    // Until that one begins, its place is free: the next end may give another.
    await begun(redis, ids[2]);
    expect(await endOf(ids[1], starts[1] as number)).toEqual([ids[3]]);
    expect(await parked()).toEqual([ids[4]]);
  });

  it('never runs more than it may, and runs all in the end', async () => {
    const queue = await capped(3, 40);
    const underWay: { id: string; start: number }[] = [];
    let done = 0;
    while (done < 40) {
      const id = queue.shift();
      const reply = id === undefined ? undefined : await begin(redis, id);
      if (reply?.kind === 'started') underWay.push({ id: id as string, start: reply.start });
      expect(underWay.length).toBeLessThanOrEqual(3);
      expect(await running()).toBe(underWay.length);
      if (reply?.kind === 'started' && underWay.length < 3) continue;
      const one = underWay.shift();
      if (one === undefined) throw new Error(`stalled with ${40 - done} jobs left`);
      queue.push(...(await endOf(one.id, one.start)));
      done++;
    }
    expect(await redis.exists(keys.tenantParked('t'), keys.tenantsRunning())).toBe(0);
    expect(await redis.exists(keys.tenantsOpen(), keys.lane('interactive'))).toBe(0);
  });

  it('is passed over by nothing else: another tenant’s jobs run meanwhile', async () => {
    const [first, second] = (await capped(1, 2)) as [string, string];
    await begun(redis, first);
    await begin(redis, second);
    expect(await begun(redis, await admitted(redis, { tenant: 'other' }))).toBe(1);
  });
});

describe('a parked job', () => {
  it('that was cancelled is passed over for the one behind it', async () => {
    const [first, second, third] = (await capped(1, 3)) as [string, string, string];
    const start = await begun(redis, first);
    for (const id of [second, third]) await begin(redis, id);
    expect(idsOf(await cancelQueued(redis, second))).toEqual([]);
    expect(await endOf(first, start)).toEqual([third]);
  });

  it('is let in by the end of one that was handed back and cancelled before it ran again', async () => {
    const [first, second] = (await capped(1, 2)) as [string, string];
    const start = await begun(redis, first);
    await begin(redis, second);
    await handBackJob(redis, { id: first, start, ran: 'no' });
    expect(idsOf(await cancelQueued(redis, first))).toEqual([second]);
  });

  it('is let in by the end of one from before its tenant had a bound', async () => {
    const [old] = (await capped(null, 1)) as [string];
    const start = await begun(redis, old);
    const [late] = (await capped(1, 1)) as [string];
    expect(await begin(redis, late)).toEqual({ kind: 'parked' });
    expect(await endOf(old, start)).toEqual([late]);
  });

  it('is marked as on its way when it is let in, so that a crash there loses nothing', async () => {
    const [first, second] = (await capped(1, 2)) as [string, string];
    const start = await begun(redis, first);
    await begin(redis, second);
    await endOf(first, start);
    expect(await redis.zscore(keys.unqueued(), second)).not.toBeNull();
    expect((await readRecord(redis, second))?.tag).toBeDefined();
    expect(await begun(redis, second)).toBe(1);
    expect(await settle(redis, second, 1)).toBe('settled');
  });
});
