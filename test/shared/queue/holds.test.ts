import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Hold, recordedHolds, releaseHolds } from '../../../shared/queue/holds.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import type { Charge } from '../../../shared/queue/reserve.ts';
import { settleWithoutRun } from '../../../shared/queue/settle-without-run.ts';
import { batchJob, created, sendJobs } from './batch.ts';
import { chargeOne, placeCharge, windowCharge } from './charges.ts';
import { admitted, begun, newId, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

/** What a second call finds left of the limit, itself counted: one more is free than that. */
const leftOf = async (charge: Charge): Promise<number> => {
  const reply = await chargeOne(server.redis, [charge]);
  await releaseHolds(server.redis, reply.holds);
  return reply.counted[0]?.left ?? Number.NaN;
};

/** Admits a job that has reserved these. */
async function jobHolding(charges: readonly Charge[]): Promise<string> {
  const id = newId();
  const { holds } = await chargeOne(server.redis, charges, id);
  await admitted(server.redis, { id });
  const recorded = recordedHolds(holds);
  if (recorded !== null) await server.redis.hset(keys.job(id), 'holds', recorded);
  return id;
}

const WINDOWS = [
  ['an exact log', windowCharge({ max: 5 })],
  ['a weighted window', windowCharge({ max: 5_000 })],
  ['a fixed window', windowCharge({ max: 5, algorithm: 'fixed' })],
  ['a token bucket', windowCharge({ max: 5, burst: 5, algorithm: 'token_bucket' })],
] as const;

describe('what was reserved and is not used', () => {
  it.each(WINDOWS)('goes back: %s', async (_name, charge) => {
    const { holds, counted } = await chargeOne(server.redis, [charge]);
    await releaseHolds(server.redis, holds);
    expect(await leftOf(charge)).toBe(counted[0]?.left);
  });

  it('goes back once, though it is given back twice', async () => {
    const charge = placeCharge({ max: 2 });
    const { holds } = await chargeOne(server.redis, [charge]);
    await chargeOne(server.redis, [charge]);
    await releaseHolds(server.redis, holds);
    await releaseHolds(server.redis, holds);
    expect(await leftOf(charge)).toBe(0);
  });

  it('is nothing to talk to Redis about when there is nothing', async () => {
    const gone = await server.connect();
    gone.disconnect();
    await releaseHolds(gone, []);
  });
});

describe('a place', () => {
  const DAY_MS = 86_400_000;
  const heldForMs = async ([hold]: readonly Hold[]): Promise<number> => {
    const key = keys.limit(hold?.counter ?? '');
    const till = Number(await server.redis.zscore(key, hold?.at ?? ''));
    expect(await server.redis.pexpiretime(key)).toBeGreaterThanOrEqual(till);
    return till - Date.now();
  };
  const reserved = async () => {
    const charge = placeCharge({ max: 2, untilMs: Date.now() + DAY_MS });
    const id = newId();
    return { id, charge, holds: (await chargeOne(server.redis, [charge], id)).holds };
  };

  it('is soon void where its job is not admitted: its process may have died', async () => {
    const { holds } = await reserved();
    expect(await heldForMs(holds)).toBeLessThan(DAY_MS / 1000);
  });

  it('is kept for as long as the job can last from its admission on', async () => {
    const { id, holds, charge } = await reserved();
    const other = await chargeOne(server.redis, [charge]);
    await admitted(server.redis, { id, holds: recordedHolds(holds) });
    expect(await heldForMs(holds)).toBeGreaterThan(DAY_MS / 2);
    expect(await heldForMs(other.holds)).toBeLessThan(DAY_MS / 1000);
  });

  it('is kept likewise for a job of a batch', async () => {
    const { id, holds } = await reserved();
    const batch = await created(server.redis);
    await sendJobs(server.redis, batch, [batchJob(0, { id, holds: recordedHolds(holds) })]);
    expect(await heldForMs(holds)).toBeGreaterThan(DAY_MS / 2);
  });
});

describe('the end of a job', () => {
  it('gives its place back in the same call', async () => {
    const charge = placeCharge({ max: 1 });
    const id = await jobHolding([charge]);
    expect((await chargeOne(server.redis, [charge])).isAdmitted).toBe(false);
    await settle(server.redis, id, await begun(server.redis, id));
    expect((await chargeOne(server.redis, [charge])).isAdmitted).toBe(true);
    expect(await server.redis.hexists(keys.job(id), 'holds')).toBe(0);
  });

  it('gives back nothing twice: a late end is refused', async () => {
    const charge = placeCharge({ max: 2 });
    const id = await jobHolding([charge]);
    await jobHolding([charge]);
    const start = await begun(server.redis, id);
    await settle(server.redis, id, start);
    await settle(server.redis, id, start);
    expect(await leftOf(charge)).toBe(0);
  });

  it('leaves calls and jobs counted: they were made', async () => {
    const { holds } = await chargeOne(server.redis, [windowCharge(), windowCharge()]);
    expect(recordedHolds(holds)).toBeNull();
  });

  it.each([
    ['sliding', windowCharge({ meter: 'wallMs', max: 5_000, amount: 4_000 })],
    ['fixed', windowCharge({ meter: 'cpuMs', max: 5_000, amount: 4_000, algorithm: 'fixed' })],
    [
      'token_bucket',
      windowCharge({
        meter: 'outputBytes',
        max: 1,
        windowMs: 3_600_000,
        burst: 5_000,
        amount: 4_000,
        algorithm: 'token_bucket',
      }),
    ],
  ] as const)('corrects a meter to what was used: %s', async (_name, charge) => {
    const id = await jobHolding([charge]);
    const used = { wallMs: 100, cpuMs: 100, outputBytes: 100 };
    await settle(server.redis, id, await begun(server.redis, id), { used });
    expect(await leftOf({ ...charge, amount: 1 })).toBe(4_899);
  });

  it('charges no meter for a job that never ran', async () => {
    const charge = windowCharge({ meter: 'wallMs', max: 5_000, amount: 4_000 });
    const id = await jobHolding([charge]);
    const record = await readRecord(server.redis, id);
    if (record === undefined) throw new Error('no record');
    await settleWithoutRun(server.redis, { id, record, outcome: { kind: 'expired' } });
    expect(await leftOf({ ...charge, amount: 1 })).toBe(4_999);
  });

  it('leaves a meter at its ceiling where nobody knows what was used, and gives the place back', async () => {
    const charge = windowCharge({ meter: 'wallMs', max: 5_000, amount: 4_000 });
    const place = placeCharge({ max: 1 });
    const id = await jobHolding([charge, place]);
    const start = await begun(server.redis, id);
    const record = await readRecord(server.redis, id);
    if (record === undefined) throw new Error('no record');
    const outcome = { kind: 'lost', cause: 'worker_lost' } as const;
    expect(await settleWithoutRun(server.redis, { id, record, outcome })).toMatchObject({
      as: 'settled',
    });
    expect(start).toBe(1);
    expect(await leftOf({ ...charge, amount: 1 })).toBe(999);
    expect(await leftOf(place)).toBe(0);
  });

  it('touches no window that a meter was not charged to', async () => {
    const charge = windowCharge({ meter: 'wallMs', max: 100, amount: 60, windowMs: 100 });
    const fixed = { ...charge, algorithm: 'fixed' as const };
    const id = await jobHolding([fixed]);
    const start = await begun(server.redis, id);
    await new Promise((resolve) => setTimeout(resolve, 150));
    const late = await chargeOne(server.redis, [{ ...fixed, windowMs: 100, amount: 50 }]);
    expect(late.isAdmitted).toBe(true);
    await settle(server.redis, id, start, { used: { wallMs: 0, cpuMs: 0, outputBytes: 0 } });
    const [holds] = late.holds;
    const current = await server.redis.hget(keys.limit(holds?.counter ?? ''), 'c');
    expect([null, '50']).toContain(current);
  });
});
