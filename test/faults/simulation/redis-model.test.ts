/**
 * The Redis in memory is the real one, as far as jobs go: whatever is asked of both, in any order, they answer the same
 * and hold the same. Without this the simulation would prove something of its own Redis alone.
 */
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Admission, admitJob } from '../../../shared/queue/admit.ts';
import { beginJob, handBackJob } from '../../../shared/queue/begin.ts';
import { cancelRunning } from '../../../shared/queue/cancel.ts';
import { readRecords } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { rebaseLanes } from '../../../shared/queue/rebase.ts';
import { settleJob } from '../../../shared/queue/settle.ts';
import { admission, begin, settlement } from '../../shared/queue/job.ts';
import { startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { Connection } from './connection.ts';
import { contentOf } from './content.ts';
import { Store } from './store.ts';
import { Mortal, type Wire } from './wire.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const JOBS = 4;
const NOW_MS = Date.now();
const COSTS = [1, 0.25] as const;

/** Neither knows the other: each is asked by the product's own functions. */
interface Both {
  readonly memory: Redis;
  readonly real: Redis;
}

/** A job of each kind that the simulation knows, and some that it does not. */
function jobOf(of: number): Admission {
  const share = {
    cost: COSTS[of % 2] as number,
    maxOpenJobs: 3,
    maxRunningJobs: of === 2 ? 1 : null,
  };
  return admission({
    id: `job_${of}`,
    tenant: of === 3 ? 'other' : 'default',
    share,
    acceptedAtMs: NOW_MS + of,
    expiresAtMs: NOW_MS + (of === 1 ? -1 : 60_000),
    idempotency: of === 0 ? { key: 'k', body: 'b' } : null,
    callback: null,
  });
}

/** One question to either; both get the same arguments. */
type Question = readonly [name: string, ask: (redis: Redis) => Promise<unknown>];

const of = fc.nat(JOBS - 1);
const start = fc.integer({ min: 1, max: 3 });
const state = fc.constantFrom('queued' as const, 'running' as const);
const LATE = { lane: 'interactive', token: 'of another' } as const;
const idOf = (n: number): string => `job_${n}`;

/** The ways of a job's record, each asked of any job with any number. */
const WAYS: readonly ((n: number, at: number, from: 'queued' | 'running') => Question)[] = [
  (n) => [`admit ${n}`, (redis) => admitJob(redis, jobOf(n))],
  (n) => [`begin ${n}`, (redis) => begin(redis, idOf(n), 'w', NOW_MS)],
  (n) => [
    `begin ${n} without its lock`,
    (redis) => beginJob(redis, { id: idOf(n), nowMs: NOW_MS, worker: 'w', held: LATE }),
  ],
  (n, at) => [
    `hand back ${n} of start ${at}, which ran`,
    (redis) => handBackJob(redis, { id: idOf(n), start: at, ran: 'yes', backAtMs: NOW_MS }),
  ],
  (n, at) => [
    `hand back ${n} of start ${at}, which did not run`,
    (redis) => handBackJob(redis, { id: idOf(n), start: at, ran: 'no', backAtMs: NOW_MS }),
  ],
  (n, at) => [
    `settle ${n} of start ${at}`,
    (redis) => settleJob(redis, settlement(idOf(n), at, { finishedAtMs: NOW_MS })),
  ],
  (n, at, from) => [
    `settle ${n}, ${from} and begun ${at} times`,
    (redis) => settleJob(redis, settlement(idOf(n), at - 1, { from, finishedAtMs: NOW_MS })),
  ],
  (n) => [`cancel ${n}`, (redis) => cancelRunning(redis, idOf(n), 'caller')],
  (n) => [`mark ${n}`, (redis) => redis.zadd(keys.unqueued(), 'NX', NOW_MS + 1, idOf(n))],
  (n) => [`unmark ${n}`, (redis) => redis.zrem(keys.unqueued(), idOf(n))],
];

const LOOKS: readonly Question[] = [
  ['read', (redis) => readRecords(redis, [0, 1, 2, 3].map(idOf))],
  ['rebase', (redis) => rebaseLanes(redis)],
  ['due', (redis) => redis.zrangebyscore(keys.open(), '-inf', NOW_MS, 'LIMIT', 0, 2)],
  ['since', (redis) => redis.zrangebyscore(keys.tenantJobs('default'), `(${NOW_MS}`, '+inf')],
];

const question: fc.Arbitrary<Question> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(fc.constantFrom(...WAYS), of, start, state)
      .map(([way, n, at, from]) => way(n, at, from)),
  },
  { weight: 1, arbitrary: fc.constantFrom(...LOOKS) },
);

class Ask implements fc.AsyncCommand<Redis, Redis> {
  readonly #question: Question;

  constructor(one: Question) {
    this.#question = one;
  }

  check(): boolean {
    return true;
  }

  async run(memory: Redis, real: Redis): Promise<void> {
    const [name, ask] = this.#question;
    expect(await ask(memory), name).toEqual(await ask(real));
    expect(await contentOf(memory), name).toEqual(await contentOf(real));
  }

  toString(): string {
    return this.#question[0];
  }
}

const commands = fc.commands([question.map((one) => new Ask(one))], { maxCommands: 25 });

async function newBoth(): Promise<Both> {
  await server.redis.flushall();
  const wire = { turn: async () => {} } as unknown as Wire;
  const store = new Store({ nowMs: Date.now, publish: () => {} });
  const parts = { wire, store, scripts: new Map(), subscribers: new Set<Connection>() };
  const memory = new Connection({ ...parts, onReply: () => {} }, new Mortal('memory'));
  return { memory: memory.asRedis(), real: server.redis };
}

it('the Redis of the simulation answers as the real one does, and holds the same, whatever is done to jobs', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (asked) => {
      const { memory, real } = await newBoth();
      await fc.asyncModelRun(() => ({ model: memory, real }), asked);
    }),
    { numRuns: 300 },
  );
});
