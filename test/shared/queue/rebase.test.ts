import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { admitJob } from '../../../shared/queue/admit.ts';
import { handBackJob } from '../../../shared/queue/begin.ts';
import { createEntrance, type Entrance } from '../../../shared/queue/entrance.ts';
import type { Entry } from '../../../shared/queue/fair-share.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { MAX_PRIORITY, QUEUE_PREFIX } from '../../../shared/queue/options.ts';
import { prioritizedKey } from '../../../shared/queue/queue-age.ts';
import { correctTurns, rebaseLanes } from '../../../shared/queue/rebase.ts';
import { createTaker, type Taker } from './bull.ts';
import { admission, begun } from './job.ts';
import { eventually, silent, startRedis, type TestRedis } from './redis.ts';

const LANE = 'interactive';
let server: TestRedis;
let redis: Redis;
let entrance: Entrance;
let taker: Taker;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(async () => {
  await redis.flushall();
  entrance = createEntrance({ redis, log: silent });
  taker = createTaker(await server.connect(), LANE);
});
afterEach(async () => {
  await taker.stop();
  await entrance.stop();
});

async function recorded(tenant: string): Promise<Entry> {
  const job = admission({ tenant, lane: LANE });
  const reply = await admitJob(redis, job);
  if (reply.kind !== 'accepted') throw new Error(reply.kind);
  return { id: job.id, lane: LANE, priority: reply.priority };
}

/** Records jobs and puts them into the queue; marks stay, as they do for a while. */
async function enter(tenant: string, count: number): Promise<string[]> {
  const entries: Entry[] = [];
  for (let at = 0; at < count; at++) entries.push(await recorded(tenant));
  await entrance.add(entries);
  return entries.map(({ id }) => id);
}

/** Takes jobs from the queue and begins them. */
async function runNext(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let at = 0; at < count; at++) {
    const id = await taker.take();
    if (id === undefined) break;
    await begun(redis, id);
    ids.push(id);
  }
  return ids;
}

const laneOf = () => redis.hgetall(keys.lane(LANE));
const order = () => redis.zrange(prioritizedKey(LANE), 0, -1);

/** What a lane must be at any time: the place of each job is its turn, in both records of the queue's library. */
async function checkPlaces(): Promise<void> {
  for (const id of await order()) {
    const { tag = Number.NaN } = (await readRecord(redis, id)) ?? {};
    const priority = Math.floor(tag) + 1;
    const score = Number(await redis.zscore(prioritizedKey(LANE), id));
    expect(Math.floor(score / 2 ** 32)).toBe(priority);
    expect(await redis.hget(`${QUEUE_PREFIX}:${LANE}:${id}`, 'priority')).toBe(String(priority));
  }
}

describe('a lane whose time is moved back', () => {
  it('keeps the order of what waits, in a queue that hands it out', async () => {
    await enter('a', 12);
    await enter('b', 6);
    await runNext(8);
    await enter('c', 3);
    const before = await order();
    expect(await rebaseLanes(redis, 3)).toEqual([]);
    expect(await order()).toEqual(before);
    await checkPlaces();
    expect(Number((await laneOf()).time)).toBeLessThan(1);
    expect(await runNext(99)).toEqual(before);
    expect(await laneOf()).toEqual({});
  });

  it('gives those that come later the turn that they would have had', async () => {
    await enter('a', 10);
    await runNext(6);
    await rebaseLanes(redis, 2);
    const [late] = await enter('late', 1);
    const [rest] = await enter('a', 1);
    await checkPlaces();
    const left = await runNext(99);
    expect(left.indexOf(late as string)).toBeLessThanOrEqual(1);
    expect(left.at(-1)).toBe(rest);
  });

  it('forgets tenants whose time is over, and keeps those that are ahead by as much', async () => {
    await enter('gone', 1);
    await enter('ahead', 9);
    await runNext(6);
    const { time } = await laneOf();
    await rebaseLanes(redis, 1);
    const base = Math.floor(Number(time));
    expect(await laneOf()).toEqual({ time: '0', waiting: '4', 'of:ahead': String(9 - base) });
  });

  it('is left alone until its time has come to the bound', async () => {
    await enter('a', 6);
    await runNext(3);
    const before = [await laneOf(), await redis.zrange(prioritizedKey(LANE), 0, -1, 'WITHSCORES')];
    expect(await rebaseLanes(redis)).toEqual([]);
    expect(await rebaseLanes(redis, 3)).toEqual([]);
    expect([await laneOf(), await redis.zrange(prioritizedKey(LANE), 0, -1, 'WITHSCORES')]).toEqual(
      before,
    );
  });

  it('may be empty: then there is nothing to move', async () => {
    expect(await rebaseLanes(redis, 0)).toEqual([]);
    expect(await redis.keys('*lane*')).toEqual([]);
  });
});

describe('a job on its way into the queue meanwhile', () => {
  it('arrives with its old turn, and is given the new one', async () => {
    await enter('a', 6);
    const coming = await recorded('b');
    const behind = await recorded('b');
    await runNext(5);
    const moved = await rebaseLanes(redis, 2);
    expect(moved).toEqual([{ lane: LANE, ids: expect.arrayContaining([coming.id, behind.id]) }]);
    await entrance.add([coming, behind]);
    await correctTurns(redis, moved);
    await checkPlaces();
    expect(await runNext(99)).toHaveLength(3);
  });

  it('that has begun or gone since is passed over', async () => {
    await enter('a', 6);
    const coming = await recorded('b');
    await runNext(5);
    const moved = await rebaseLanes(redis, 2);
    await begun(redis, coming.id);
    await entrance.add([coming]);
    await correctTurns(redis, moved);
    await correctTurns(redis, [{ lane: LANE, ids: ['job_gone'] }]);
    expect(await redis.zscore(prioritizedKey(LANE), coming.id)).not.toBeNull();
    expect((await readRecord(redis, coming.id))?.tag).toBeUndefined();
  });
});

describe('a job that was handed back and is put off meanwhile', () => {
  it('comes back with its new turn, before what came after it', async () => {
    await enter('a', 12);
    await runNext(8);
    const id = await taker.delay(300);
    await handBackJob(redis, { id, start: await begun(redis, id), ran: 'no' });
    await rebaseLanes(redis, 2);
    const [, later] = await enter('late', 2);
    await eventually('it is due', async () => {
      const delayed = await redis.zrange(`${QUEUE_PREFIX}:${LANE}:delayed`, 0, 0, 'WITHSCORES');
      return Number(delayed[1]) / 4096 < Date.now();
    });
    const left = await runNext(99);
    expect(left).toContain(id);
    expect(left.indexOf(id)).toBeLessThan(left.indexOf(later as string));
  });
});

describe('a turn beyond what the queue’s library can hold', () => {
  it('enters at the end of the queue', async () => {
    const { id } = await recorded('a');
    await entrance.add([{ id, lane: LANE, priority: MAX_PRIORITY * 4 }]);
    const score = Number(await redis.zscore(prioritizedKey(LANE), id));
    expect(Math.floor(score / 2 ** 32)).toBe(MAX_PRIORITY);
  });
});
