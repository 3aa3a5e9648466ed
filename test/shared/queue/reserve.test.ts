import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keys } from '../../../shared/queue/keys.ts';
import { type Charge, EXACT_MAX, reserve } from '../../../shared/queue/reserve.ts';
import { chargeOne, newCounter, placeCharge, windowCharge } from './charges.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let second: Redis;
beforeAll(async () => {
  server = await startRedis();
  second = await server.connect();
});
afterAll(() => server.stop());

const MINUTE_MS = 60_000;

describe('a limit of 10 a minute', () => {
  it('lets exactly 10 of 500 parallel calls through, over two connections', async () => {
    const charge = windowCharge({ max: 10, windowMs: MINUTE_MS });
    const replies = await Promise.all(
      Array.from({ length: 500 }, (_, n) =>
        chargeOne(n % 2 === 0 ? server.redis : second, [charge]),
      ),
    );
    expect(replies.filter(({ isAdmitted }) => isAdmitted)).toHaveLength(10);
    for (const { isAdmitted, counted } of replies) {
      if (isAdmitted) continue;
      expect(counted[0]?.verdict).toBe('over');
      expect(counted[0]?.retryAfterMs).toBeGreaterThan(MINUTE_MS - 10_000);
      expect(counted[0]?.retryAfterMs).toBeLessThanOrEqual(MINUTE_MS);
    }
  });

  it('charges the items of a batch in order, each by itself', async () => {
    const charge = windowCharge({ max: 10, windowMs: MINUTE_MS });
    const calls = Array.from({ length: 25 }, (_, n) => ({ id: `job_${n}`, charges: [charge] }));
    const { calls: replies } = await reserve(server.redis, calls);
    expect(replies.map(({ isAdmitted }) => isAdmitted)).toEqual(
      Array.from({ length: 25 }, (_, n) => n < 10),
    );
    expect(replies[0]?.counted[0]?.left).toBe(9);
    expect(replies[9]?.counted[0]?.left).toBe(0);
  });

  it('is charged a chunk of 500 calls in one go', async () => {
    const charges = [windowCharge({ max: 400 }), windowCharge({ max: 1e6, algorithm: 'fixed' })];
    const calls = Array.from({ length: 500 }, (_, n) => ({ id: `job_${n}`, charges }));
    const { calls: replies } = await reserve(server.redis, calls);
    expect(replies.filter(({ isAdmitted }) => isAdmitted)).toHaveLength(400);
  });
});

describe.each([
  ['sliding, exact', windowCharge({ algorithm: 'sliding', max: 3, windowMs: 300 })],
  [
    'sliding, weighted',
    windowCharge({ algorithm: 'sliding', max: 3, windowMs: 300, meter: 'wallMs' }),
  ],
  ['fixed', windowCharge({ algorithm: 'fixed', max: 3, windowMs: 300 })],
  ['token bucket', windowCharge({ algorithm: 'token_bucket', max: 3, burst: 3, windowMs: 300 })],
])('the wait that is told: %s', (_name, shape) => {
  it('is enough for the same call, and no call fits before', async () => {
    const charge = { ...shape, counter: newCounter() };
    for (let round = 0; round < 4; round++) {
      let reply = await chargeOne(server.redis, [charge]);
      while (reply.isAdmitted) reply = await chargeOne(server.redis, [charge]);
      const wait = reply.counted[0]?.retryAfterMs ?? 0;
      expect(wait).toBeGreaterThan(0);
      expect(wait).toBeLessThanOrEqual(600);
      await untilRedisTime(server.redis, reply.nowMs + wait);
      const next = await chargeOne(server.redis, [charge]);
      expect(next.isAdmitted).toBe(true);
      expect(next.nowMs).toBeGreaterThanOrEqual(reply.nowMs + wait);
    }
  });
});

/** Waits by the clock that the limits go by. */
async function untilRedisTime(redis: Redis, ms: number): Promise<void> {
  for (;;) {
    const [seconds, micros] = await redis.time();
    const left = ms - (Number(seconds) * 1000 + Math.floor(Number(micros) / 1000));
    if (left <= 0) return;
    await sleep(left);
  }
}

describe('several limits of one call', () => {
  it('are charged all or none', async () => {
    const wide = windowCharge({ max: 5 });
    const narrow = windowCharge({ max: 1 });
    const place = placeCharge({ max: 5 });
    const all = [wide, narrow, place];
    expect((await chargeOne(server.redis, all)).isAdmitted).toBe(true);
    const refused = await chargeOne(server.redis, all);
    expect(refused.isAdmitted).toBe(false);
    expect(refused.holds).toEqual([]);
    expect(refused.counted.map(({ verdict }) => verdict)).toEqual(['fits', 'over', 'fits']);
    const after = await chargeOne(server.redis, [wide, place]);
    expect(after.counted.map(({ left }) => left)).toEqual([3, 3]);
  });

  it('are looked at and not charged by a peek', async () => {
    const charge = windowCharge({ max: 2 });
    for (let n = 0; n < 5; n++) {
      const { calls } = await reserve(server.redis, [{ id: 'x', charges: [charge] }], 'peek');
      expect(calls[0]).toMatchObject({ isAdmitted: true, holds: [] });
      expect(calls[0]?.counted[0]?.left).toBe(1);
    }
  });

  it('in shadow count for themselves and stop nobody', async () => {
    const counter = newCounter();
    const shadow = windowCharge({ counter, max: 1, isShadow: true });
    const first = await chargeOne(server.redis, [shadow]);
    const again = await chargeOne(server.redis, [shadow]);
    expect([first, again].map(({ isAdmitted }) => isAdmitted)).toEqual([true, true]);
    expect(again.counted[0]?.verdict).toBe('over');
    const enforced = await chargeOne(server.redis, [{ ...shadow, isShadow: false }]);
    expect(enforced.isAdmitted).toBe(true);
  });

  it('that ask for an approval when exceeded let the call on, and charge the others', async () => {
    const soft = windowCharge({ max: 1, onExceed: 'require_approval' });
    const other = windowCharge({ max: 5 });
    await chargeOne(server.redis, [soft, other]);
    const reply = await chargeOne(server.redis, [soft, other]);
    expect(reply.isAdmitted).toBe(true);
    expect(reply.counted.map(({ verdict }) => verdict)).toEqual(['over', 'fits']);
    expect(reply.holds.map(({ counter }) => counter)).toEqual([
      expect.stringContaining(other.counter),
    ]);
  });
});

describe('more than a limit ever allows', () => {
  it.each([
    ['sliding', windowCharge({ max: 10, amount: 11, meter: 'wallMs' })],
    ['fixed', windowCharge({ max: 10, amount: 11, meter: 'wallMs', algorithm: 'fixed' })],
    [
      'token_bucket',
      windowCharge({ max: 99, burst: 10, amount: 11, meter: 'wallMs', algorithm: 'token_bucket' }),
    ],
    ['concurrency', placeCharge({ max: 0 })],
  ] satisfies [string, Charge][])('has no time to come back: %s', async (_name, charge) => {
    const { isAdmitted, counted } = await chargeOne(server.redis, [charge]);
    expect(isAdmitted).toBe(false);
    expect(counted[0]).toEqual({ verdict: 'never', left: 0, retryAfterMs: 0 });
  });
});

describe('places', () => {
  it('of one that was lost come back when they are void', async () => {
    const charge = placeCharge({ max: 1, untilMs: Date.now() + 150 });
    expect((await chargeOne(server.redis, [charge])).isAdmitted).toBe(true);
    const refused = await chargeOne(server.redis, [{ ...charge, untilMs: Date.now() + 150 }]);
    expect(refused.isAdmitted).toBe(false);
    expect(refused.counted[0]?.retryAfterMs).toBeLessThanOrEqual(150);
    await untilRedisTime(server.redis, refused.nowMs + 151);
    const later = { ...charge, untilMs: Date.now() + 150 };
    expect((await chargeOne(server.redis, [later])).isAdmitted).toBe(true);
  });
});

describe('the keys of counters', () => {
  it('all go by themselves', async () => {
    const charges = [
      windowCharge({ max: 3, windowMs: 200 }),
      windowCharge({ max: EXACT_MAX + 1, windowMs: 200 }),
      windowCharge({ max: 3, windowMs: 200, algorithm: 'fixed' }),
      windowCharge({ max: 3, burst: 2, windowMs: 200, algorithm: 'token_bucket' }),
      placeCharge({ max: 3, untilMs: Date.now() + 200 }),
    ];
    expect((await chargeOne(server.redis, charges)).holds).toHaveLength(5);
    const mine = async (): Promise<string[]> => {
      const all = await server.redis.keys(keys.limit('*'));
      return all.filter((key) => charges.some(({ counter }) => key.endsWith(counter)));
    };
    expect(await mine()).toHaveLength(5);
    await sleep(600);
    expect(await mine()).toEqual([]);
  });
});
