import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Hold, releaseHolds } from '../../../shared/queue/holds.ts';
import { type Charge, reserve } from '../../../shared/queue/reserve.ts';
import { newCounter, placeCharge, windowCharge } from './charges.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let hands: [Redis, Redis];
beforeAll(async () => {
  server = await startRedis();
  hands = [await server.connect(), await server.connect()];
});
afterAll(() => server.stop());

/**
 * What a limit should do, in the plainest words: a list of what was charged and when. Its times are those that Redis
 * answered with, so the model and the script go by one clock and nothing has to be set.
 */
interface Model {
  fits(amount: number, nowMs: number): boolean;
  charge(amount: number, nowMs: number): void;
  giveBack(amount: number, chargedAtMs: number): void;
}

type Entry = { atMs: number; amount: number };
const sumOf = (entries: readonly Entry[]): number =>
  entries.reduce((sum, { amount }) => sum + amount, 0);

const listModel = (
  used: (entries: readonly Entry[], nowMs: number) => number,
  max: number,
): Model => {
  const entries: Entry[] = [];
  return {
    fits: (amount, nowMs) => used(entries, nowMs) + amount <= max,
    charge: (amount, atMs) => entries.push({ atMs, amount }),
    giveBack(amount, chargedAtMs) {
      const at = entries.findIndex(
        (entry) => entry.atMs === chargedAtMs && entry.amount === amount,
      );
      entries.splice(at, 1);
    },
  };
};

const MAX = 6;
const WINDOW_MS = 60;
const BURST = 4;

const slidingModel = (): Model =>
  listModel((all, now) => sumOf(all.filter(({ atMs }) => atMs > now - WINDOW_MS)), MAX);

const indexOf = (ms: number): number => Math.floor(ms / WINDOW_MS);
const fixedModel = (): Model =>
  listModel((all, now) => sumOf(all.filter(({ atMs }) => indexOf(atMs) === indexOf(now))), MAX);

const weightedModel = (): Model =>
  listModel((all, now) => {
    const of = (index: number): number => sumOf(all.filter(({ atMs }) => indexOf(atMs) === index));
    const inView = WINDOW_MS - (now % WINDOW_MS);
    return (of(indexOf(now)) * WINDOW_MS + of(indexOf(now) - 1) * inView) / WINDOW_MS;
  }, MAX);

function bucketModel(): Model {
  let tokens = BURST * WINDOW_MS;
  let atMs = 0;
  const fill = (nowMs: number): void => {
    tokens = Math.min(BURST * WINDOW_MS, tokens + (nowMs - atMs) * MAX);
    atMs = nowMs;
  };
  return {
    fits(amount, nowMs) {
      if (atMs === 0) atMs = nowMs;
      fill(nowMs);
      return amount * WINDOW_MS <= tokens;
    },
    charge(amount) {
      tokens -= amount * WINDOW_MS;
    },
    giveBack(amount) {
      tokens = Math.min(BURST * WINDOW_MS, tokens + amount * WINDOW_MS);
    },
  };
}

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('charge' as const),
      amount: fc.integer({ min: 1, max: 3 }),
      hand: fc.nat(1),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(40) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), pick: fc.nat() }) },
);

const LIMITS: readonly [string, Charge, () => Model][] = [
  ['sliding, exact', windowCharge({ max: MAX, windowMs: WINDOW_MS }), slidingModel],
  [
    'sliding, weighted',
    windowCharge({ max: MAX, windowMs: WINDOW_MS, meter: 'wallMs' }),
    weightedModel,
  ],
  ['fixed', windowCharge({ max: MAX, windowMs: WINDOW_MS, algorithm: 'fixed' }), fixedModel],
  [
    'token bucket',
    windowCharge({ max: MAX, windowMs: WINDOW_MS, burst: BURST, algorithm: 'token_bucket' }),
    bucketModel,
  ],
];

describe.each(LIMITS)('a limit that is %s', (_name, shape, modelOf) => {
  it('does what its model does, in any order of charges, waits and releases', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const model = modelOf();
        const counter = newCounter();
        const charged: { atMs: number; amount: number; holds: readonly Hold[] }[] = [];
        for (const one of steps) {
          if (one.kind === 'wait') {
            await sleep(one.ms);
          } else if (one.kind === 'charge') {
            const charge = { ...shape, counter, amount: one.amount } as Charge;
            const calls = [{ id: 'job', charges: [charge] }];
            const { nowMs, calls: replies } = await reserve(hands[one.hand as 0 | 1], calls);
            const reply = replies[0];
            expect(reply?.isAdmitted).toBe(model.fits(one.amount, nowMs));
            if (reply === undefined || !reply.isAdmitted) continue;
            model.charge(one.amount, nowMs);
            charged.push({ atMs: nowMs, amount: one.amount, holds: reply.holds });
          } else {
            const [given] = charged.splice(one.pick % Math.max(1, charged.length), 1);
            if (given === undefined) continue;
            await releaseHolds(hands[0], given.holds);
            model.giveBack(given.amount, given.atMs);
          }
        }
      }),
      { numRuns: 25 },
    );
  });
});

describe('several limits of several calls', () => {
  it('never hold more than their bounds, and nothing of a call that is refused', async () => {
    const bounds = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        bounds,
        fc.array(fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }), { maxLength: 20 }),
        async (maxima, wishes) => {
          const limits = maxima.map((max, at) =>
            at % 2 === 0 ? windowCharge({ max }) : placeCharge({ max }),
          );
          const calls = wishes.map((wish) => ({
            id: 'job',
            charges: [...new Set(wish.map((one) => one % limits.length))].map(
              (at) => limits[at] as Charge,
            ),
          }));
          const { calls: replies } = await reserve(hands[0], calls);
          const free = new Map(limits.map(({ counter, max }) => [counter, max]));
          calls.forEach(({ charges }, at) => {
            const fits = charges.every(({ counter }) => (free.get(counter) ?? 0) > 0);
            expect(replies[at]?.isAdmitted).toBe(fits);
            expect(replies[at]?.holds).toHaveLength(fits ? charges.length : 0);
            if (!fits) return;
            for (const { counter } of charges) free.set(counter, (free.get(counter) ?? 0) - 1);
          });
        },
      ),
      { numRuns: 50 },
    );
  });
});
