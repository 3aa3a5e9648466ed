import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isOver, readBatch, sealBatch, stopBatch } from '../../../shared/queue/batch-record.ts';
import { handBackJob } from '../../../shared/queue/begin.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { type Settled, settleJob } from '../../../shared/queue/settle.ts';
import { batchJob, cancelQueued, created, idsOf, sendJobs, windowOf } from './batch.ts';
import { begin, newId, settlement } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());

/** What an upload, workers and callers may do to one batch, in any order. */
const of = fc.nat(999);
const act = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('send' as const), of: fc.nat(7) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('send_again' as const), of }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('begin' as const), of }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('settle' as const), of }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cancel' as const), of }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('hand_back' as const), of }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('seal' as const), of }) },
);
const mayStop = fc.oneof(
  { weight: 8, arbitrary: act },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stop' as const), of }) },
);
type Act = typeof mayStop extends fc.Arbitrary<infer A> ? A : never;

interface Running {
  readonly id: string;
  readonly start: number;
}

interface World {
  readonly batch: string;
  readonly cap: number | null;
  /** Jobs that were accepted, in their order. */
  readonly jobs: ReturnType<typeof batchJob>[];
  /** Ids in the queue. */
  readonly queue: string[];
  readonly running: Running[];
}

async function newWorld(window: number, cap: number | null): Promise<World> {
  await redis.flushall();
  return { batch: await created(redis, { window }), cap, jobs: [], queue: [], running: [] };
}

const entered = ({ queue }: World, settled: Pick<Settled, 'released'>): void => {
  for (const id of idsOf(settled)) {
    expect(queue).not.toContain(id);
    queue.push(id);
  }
};

async function send(world: World, jobs: readonly ReturnType<typeof batchJob>[]): Promise<number> {
  const share = { cost: 1, maxOpenJobs: 1000, maxRunningJobs: world.cap };
  const reply = await sendJobs(redis, world.batch, jobs, { share });
  if (reply.kind !== 'accepted') {
    expect(reply.kind).toBe('closed');
    return 0;
  }
  entered(world, reply);
  return reply.added;
}

const takeOne = <T>(from: T[], at: number): T | undefined =>
  from.splice(at % Math.max(1, from.length), 1)[0];

/** The next of the queue, as a worker takes it. */
async function beginNext(world: World): Promise<void> {
  const id = world.queue.shift();
  if (id === undefined) return;
  const reply = await begin(redis, id);
  if (reply.kind === 'started') world.running.push({ id, start: reply.start });
  if (reply.kind === 'cancelled') entered(world, await cancelQueued(redis, id));
}

const settleOne = async (world: World, { id, start }: Running): Promise<void> => {
  const settled = await settleJob(redis, settlement(id, start));
  expect(settled.as).toBe('settled');
  entered(world, settled);
};

async function perform(world: World, one: Act): Promise<void> {
  const { batch, jobs, queue, running } = world;
  switch (one.kind) {
    case 'send': {
      const more = Array.from({ length: one.of }, (_, at) =>
        batchJob(jobs.length + at, at % 2 ? { key: newId() } : {}),
      );
      if ((await send(world, more)) > 0) jobs.push(...more);
      return;
    }
    case 'send_again':
      return void expect(await send(world, jobs.slice(one.of % (jobs.length + 1)))).toBe(0);
    case 'begin':
      return beginNext(world);
    case 'settle': {
      const job = takeOne(running, one.of);
      return job && settleOne(world, job);
    }
    case 'cancel': {
      const job = jobs[one.of % Math.max(1, jobs.length)];
      if (job !== undefined) entered(world, await cancelQueued(redis, job.id));
      return;
    }
    case 'hand_back': {
      const job = takeOne(running, one.of);
      if (job === undefined) return;
      expect(await handBackJob(redis, { ...job, ran: 'no' })).toBe(true);
      queue.unshift(job.id);
      return;
    }
    case 'seal':
      return void (await sealBatch(redis, batch));
    case 'stop':
      return void (await stopBatch(redis, batch));
    default:
      one satisfies never;
  }
}

/** What holds at any time: every counter is what the records say. */
async function checkCounts({ batch, jobs, running, cap }: World, window: number): Promise<void> {
  const records = await Promise.all(
    jobs.map(({ id }) => redis.hmget(keys.job(id), 'state', 'out', 'tag')),
  );
  const count = (is: (record: (string | null)[]) => boolean) => records.filter(is).length;
  const done = count(([state]) => state === 'done');
  const view = (await readBatch(redis, batch))?.view;
  const figures = { total: jobs.length, done, running: running.length };
  expect(view?.counts).toEqual({ ...figures, queued: jobs.length - done - running.length });
  const { out } = await windowOf(redis, batch);
  expect(out).toBe(count(([state, isOut]) => state !== 'done' && isOut !== null));
  expect(out).toBeLessThanOrEqual(window);
  if (cap !== null) expect(running.length).toBeLessThanOrEqual(cap);
  const waiting = Number((await redis.hget(keys.lane('bulk'), 'waiting')) ?? 0);
  expect(waiting).toBe(count(([, , tag]) => tag !== null));
  expect(Number((await redis.hget(keys.tenantsOpen(), 'default')) ?? 0)).toBe(jobs.length - done);
}

/** Workers and the canceller go on until nothing moves. */
async function runOut(world: World): Promise<void> {
  await sealBatch(redis, world.batch);
  while (world.queue.length + world.running.length > 0) {
    await beginNext(world);
    const job = world.running.shift();
    if (job !== undefined) await settleOne(world, job);
  }
  if (!(await redis.sismember(keys.stoppingBatches(), world.batch))) return;
  for (const { id } of world.jobs) entered(world, await cancelQueued(redis, id));
}

async function checkEnd(world: World): Promise<void> {
  const { batch, jobs } = world;
  const after = await readBatch(redis, batch);
  expect(after && isOver(after)).toBe(true);
  expect(after?.view.counts).toEqual({
    total: jobs.length,
    queued: 0,
    running: 0,
    done: jobs.length,
  });
  const outcomes = Object.values(after?.view.outcomes ?? {});
  expect(outcomes.reduce((sum, count) => sum + count, 0)).toBe(jobs.length);
  expect(await windowOf(redis, batch)).toMatchObject({ out: 0, running: 0 });
  const places = await redis.lrange(keys.batchDone(batch), 0, -1);
  expect(places.map((place) => Number(place.split(' ')[0])).toSorted((a, b) => a - b)).toEqual(
    jobs.map((_, index) => index),
  );
  const left = [keys.open(), keys.running(), keys.unqueued(), keys.tenantsOpen()];
  left.push(keys.tenantsRunning(), keys.lane('bulk'), keys.openBatches());
  for (const key of left) expect([key, await redis.exists(key)]).toEqual([key, 0]);
  expect(await redis.pttl(keys.batch(batch))).toBeGreaterThan(0);
}

const window = fc.integer({ min: 1, max: 6 });
const cap = fc.constantFrom(null, 1, 2);

describe('an upload, workers and callers at one batch', () => {
  it.each([
    ['every job ends once and every counter is right, though nobody cancels it', act],
    ['the same holds for one that is cancelled at any time', mayStop],
  ])('in any order: %s', async (_, one) => {
    await fc.assert(
      fc.asyncProperty(window, cap, fc.array(one, { maxLength: 50 }), async (size, most, acts) => {
        const world = await newWorld(size, most);
        for (const each of acts as Act[]) {
          await perform(world, each);
          await checkCounts(world, size);
        }
        await runOut(world);
        await checkEnd(world);
      }),
      { numRuns: 100 },
    );
  });
});
