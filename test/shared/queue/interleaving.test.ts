import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handBackJob } from '../../../shared/queue/begin.ts';
import { cancelRunning } from '../../../shared/queue/cancel.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { MAX_STARTS } from '../../../shared/queue/options.ts';
import { admitted, begin, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let hands: Redis[];
beforeAll(async () => {
  server = await startRedis();
  hands = await Promise.all([server.connect(), server.connect()]);
});
afterAll(() => server.stop());

/** What two workers, a caller and the sweep may do to one job, in any order and any number of times. */
const act = fc.oneof(
  fc.record({ kind: fc.constant('begin' as const), hand: fc.nat(1) }),
  fc.record({
    kind: fc.constant('hand_back' as const),
    hand: fc.nat(1),
    ran: fc.constantFrom('no' as const, 'yes' as const),
  }),
  fc.record({ kind: fc.constant('settle' as const), hand: fc.nat(1) }),
  fc.record({ kind: fc.constant('cancel' as const) }),
  fc.record({
    kind: fc.constant('sweep' as const),
    from: fc.constantFrom('queued' as const, 'running' as const),
  }),
);
type Act = typeof act extends fc.Arbitrary<infer A> ? A : never;

interface World {
  readonly id: string;
  /** The number of the start that each worker last began: it may be long over. */
  readonly starts: [number, number];
  writes: number;
}

/** Does one thing, and says what came of it. */
async function perform(world: World, one: Act): Promise<string> {
  const { id, starts } = world;
  switch (one.kind) {
    case 'begin': {
      const reply = await begin(hands[one.hand] as Redis, id, `w${one.hand}`);
      if (reply.kind === 'started') starts[one.hand as 0 | 1] = reply.start;
      return reply.kind;
    }
    case 'hand_back': {
      const start = starts[one.hand as 0 | 1];
      const done = await handBackJob(hands[one.hand] as Redis, { id, start, ran: one.ran });
      return done ? 'handed_back' : 'refused';
    }
    case 'settle': {
      const result = `by ${one.hand}, write ${world.writes++}`;
      const start = starts[one.hand as 0 | 1];
      const reply = await settle(hands[one.hand] as Redis, id, start, { result });
      return reply === 'settled' ? `settled:${result}` : reply;
    }
    case 'cancel':
      return cancelRunning(server.redis, id, 'caller');
    case 'sweep': {
      const result = `by the sweep, write ${world.writes++}`;
      const reply = await settle(server.redis, id, null, { from: one.from, result });
      return reply === 'settled' ? `settled:${result}` : reply;
    }
    default:
      return one satisfies never;
  }
}

const newWorld = async (): Promise<World> => ({
  id: await admitted(server.redis),
  starts: [0, 0],
  writes: 0,
});

async function checkEnd(world: World, replies: readonly string[]): Promise<void> {
  const { id } = world;
  const wins = replies.filter((reply) => reply.startsWith('settled:'));
  const record = await readRecord(server.redis, id);
  const result = await server.redis.get(keys.result(id));
  expect(wins.length).toBeLessThanOrEqual(1);
  expect(result).toBe(wins[0]?.slice('settled:'.length) ?? null);
  expect(record?.state === 'done').toBe(wins.length === 1);
  expect(record?.starts).toBeLessThanOrEqual(MAX_STARTS);
  const [open, running] = await Promise.all(
    [keys.open(), keys.running()].map((key) => server.redis.zscore(key, id)),
  );
  expect(open !== null).toBe(record?.state !== 'done');
  expect(running !== null).toBe(record?.state === 'running');
}

describe('two workers, a caller and the sweep at one job', () => {
  it('make at most one result in any order, which never changes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 25 }), async (acts) => {
        const world = await newWorld();
        const replies: string[] = [];
        let result: string | null = null;
        for (const one of acts) {
          replies.push(await perform(world, one));
          const now = await server.redis.get(keys.result(world.id));
          if (result !== null) expect(now).toBe(result);
          result = now;
        }
        await checkEnd(world, replies);
      }),
      { numRuns: 150 },
    );
  });

  it('make at most one result when they act at the same time', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(act, { minLength: 1, maxLength: 6 }), { maxLength: 6 }),
        async (rounds) => {
          const world = await newWorld();
          const replies: string[] = [];
          for (const round of rounds) {
            replies.push(...(await Promise.all(round.map((one) => perform(world, one)))));
          }
          await checkEnd(world, replies);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('never let a worker write whose job another has begun since', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 25 }), async (acts) => {
        const world = await newWorld();
        let holder: number | undefined;
        for (const one of acts) {
          const reply = await perform(world, one);
          if (reply.startsWith('settled:') && one.kind === 'settle') expect(one.hand).toBe(holder);
          if (reply === 'handed_back' && one.kind === 'hand_back') expect(one.hand).toBe(holder);
          if (one.kind === 'begin' && reply === 'started') holder = one.hand;
        }
      }),
      { numRuns: 150 },
    );
  });
});
