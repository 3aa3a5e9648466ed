import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recordedHolds } from '../../../shared/queue/holds.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import type { Charge } from '../../../shared/queue/reserve.ts';
import { settleJob } from '../../../shared/queue/settle.ts';
import { settleWithoutRun } from '../../../shared/queue/settle-without-run.ts';
import { chargeOne, placeCharge } from './charges.ts';
import { admitted, begin, begun, newId, settlement } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

async function jobInLineFor(charge: Charge): Promise<string> {
  const id = newId();
  const { isAdmitted, holds } = await chargeOne(server.redis, [charge], id);
  expect(isAdmitted).toBe(true);
  await admitted(server.redis, { id });
  await server.redis.hset(keys.job(id), 'holds', recordedHolds(holds) ?? '');
  return id;
}

const end = (id: string, start: number) => settleJob(server.redis, settlement(id, start));

async function cancelled(id: string): Promise<string[]> {
  const record = await readRecord(server.redis, id);
  if (record === undefined) throw new Error('no record');
  const outcome = { kind: 'cancelled', by: 'caller' } as const;
  const { released } = await settleWithoutRun(server.redis, { id, record, outcome });
  return released.map((entry) => entry.id);
}

describe('a bound of concurrency whose rule says queue', () => {
  it('admits every job, and lets as many begin as there are places', async () => {
    const charge = placeCharge({ max: 2, onExceed: 'queue' });
    const ids = await Promise.all([1, 2, 3].map(() => jobInLineFor(charge)));
    const [one = '', two = '', three = ''] = ids;
    const start = await begun(server.redis, one);
    await begun(server.redis, two);
    expect(await begin(server.redis, three)).toEqual({ kind: 'parked' });
    expect((await readRecord(server.redis, three))?.state).toBe('queued');
    const { released } = await end(one, start);
    expect(released.map(({ id }) => id)).toEqual([three]);
    await begun(server.redis, three);
  });

  it('lets the next in when one that was let in is cancelled before it begins', async () => {
    const charge = placeCharge({ max: 1, onExceed: 'queue' });
    const [one = '', two = '', three = ''] = await Promise.all(
      [1, 2, 3].map(() => jobInLineFor(charge)),
    );
    const start = await begun(server.redis, one);
    await begin(server.redis, two);
    await begin(server.redis, three);
    const { released } = await end(one, start);
    expect(released.map(({ id }) => id)).toEqual([two]);
    expect(await cancelled(two)).toEqual([three]);
  });

  it('passes over one that was cancelled while it stood in line', async () => {
    const charge = placeCharge({ max: 1, onExceed: 'queue' });
    const [one = '', two = '', three = ''] = await Promise.all(
      [1, 2, 3].map(() => jobInLineFor(charge)),
    );
    const start = await begun(server.redis, one);
    await begin(server.redis, two);
    await begin(server.redis, three);
    expect(await cancelled(two)).toEqual([]);
    const { released } = await end(one, start);
    expect(released.map(({ id }) => id)).toEqual([three]);
  });
});
