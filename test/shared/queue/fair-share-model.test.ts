import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { admitJob } from '../../../shared/queue/admit.ts';
import { handBackJob } from '../../../shared/queue/begin.ts';
import { costOf } from '../../../shared/queue/fair-share.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { admission, begin, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());

const WEIGHTS: Readonly<Record<string, number>> = { a: 1, b: 1, heavy: 4, light: 0.5 };
const TENANTS = Object.keys(WEIGHTS);

interface Held {
  readonly id: string;
  readonly tenant: string;
  priority: number;
  start: number;
}

/** What a queue does with the turns that it is told: the least first, and of equals the one that came first. */
interface World {
  readonly waiting: Held[];
  readonly running: Held[];
  readonly runs: Map<string, number>;
}

const enter = async ({ waiting }: World, tenant: string): Promise<void> => {
  const cost = costOf(WEIGHTS[tenant] as number);
  const share = { cost, maxOpenJobs: 100_000, maxRunningJobs: null };
  const job = admission({ tenant, share });
  const reply = await admitJob(redis, job);
  if (reply.kind !== 'accepted') throw new Error(reply.kind);
  waiting.push({ id: job.id, tenant, priority: reply.priority, start: 0 });
};

async function beginNext({ waiting, running, runs }: World): Promise<Held | undefined> {
  const least = Math.min(...waiting.map(({ priority }) => priority));
  const at = waiting.findIndex(({ priority }) => priority === least);
  const [next] = at < 0 ? [] : waiting.splice(at, 1);
  if (next === undefined) return undefined;
  const reply = await begin(redis, next.id);
  if (reply.kind !== 'started') throw new Error(reply.kind);
  running.push({ ...next, start: reply.start });
  runs.set(next.tenant, (runs.get(next.tenant) ?? 0) + 1);
  return next;
}

const act = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('enter' as const), of: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('begin' as const), of: fc.nat(99) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('settle' as const), of: fc.nat(99) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), of: fc.nat(99) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('hand_back' as const), of: fc.nat(99) }) },
);
type Act = typeof act extends fc.Arbitrary<infer A> ? A : never;

const takeOne = (from: Held[], of: number): Held | undefined =>
  from.splice(of % Math.max(1, from.length), 1)[0];

async function perform(world: World, { kind, of }: Act): Promise<void> {
  const { waiting, running } = world;
  if (kind === 'enter') return enter(world, TENANTS[of] as string);
  if (kind === 'begin') return void (await beginNext(world));
  const one = takeOne(kind === 'cancel' ? waiting : running, of);
  if (one === undefined) return;
  switch (kind) {
    case 'settle':
      return void expect(await settle(redis, one.id, one.start)).toBe('settled');
    case 'cancel':
      return void expect(await settle(redis, one.id, null, { from: 'queued' })).toBe('settled');
    case 'hand_back':
      await handBackJob(redis, { id: one.id, start: one.start, ran: 'no' });
      // The queue's library keeps the place that it had.
      waiting.unshift(one);
      return;
    default:
      kind satisfies never;
  }
}

/** The lane counts what it holds: as many as there are records with a turn. */
async function checkCounts({ waiting, running }: World): Promise<void> {
  const lane = await redis.hgetall(keys.lane('interactive'));
  const tags = await Promise.all(waiting.map(({ id }) => redis.hget(keys.job(id), 'tag')));
  expect(tags).not.toContain(null);
  for (const { id } of running) expect(await redis.hexists(keys.job(id), 'tag')).toBe(0);
  if (waiting.length === 0) expect(lane).toEqual({});
  else expect(Number(lane.waiting)).toBe(waiting.length);
  for (const tag of tags) expect(Number(tag)).toBeGreaterThanOrEqual(0);
}

const newWorld = async (): Promise<World> => {
  await redis.flushall();
  return { waiting: [], running: [], runs: new Map() };
};

describe('a lane', () => {
  it('counts what waits in it, whatever was entered, begun, settled, cancelled, handed back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 60 }), async (acts) => {
        const world = await newWorld();
        for (const one of acts) {
          await perform(world, one);
          await checkCounts(world);
        }
        while ((await beginNext(world)) !== undefined);
        await checkCounts(world);
      }),
      { numRuns: 60 },
    );
  });

  /**
   * Goyal, Vin and Cheng, theorem 1: over any time in which two tenants both have something waiting, what each ran
   * differs, in units of its cost, by no more than the largest jobs of both. A priority is a tag without its fraction,
   * so that either may be behind by one unit of time more.
   */
  it('lets no tenant that has something waiting fall behind another by more than the theory allows', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...TENANTS), { minLength: 5, maxLength: 60 }),
        fc.nat(30),
        async (before, away) => {
          const world = await newWorld();
          for (const tenant of before) await enter(world, tenant);
          for (let at = 0; at < Math.min(away, before.length - 1); at++) await beginNext(world);
          for (const tenant of TENANTS) {
            for (let at = 0; at < 20; at++) await enter(world, tenant);
          }
          world.runs.clear();
          const isWaiting = (tenant: string) => world.waiting.some((one) => one.tenant === tenant);
          while (TENANTS.every(isWaiting)) {
            await beginNext(world);
            for (const one of TENANTS) {
              for (const other of TENANTS) {
                const [ours, theirs] = [one, other].map((name) => costOf(WEIGHTS[name] as number));
                const mine = (world.runs.get(one) ?? 0) * (ours as number);
                const its = (world.runs.get(other) ?? 0) * (theirs as number);
                expect(its - mine).toBeLessThanOrEqual((ours as number) + (theirs as number) + 1);
              }
            }
          }
        },
      ),
      { numRuns: 25 },
    );
  });
});
