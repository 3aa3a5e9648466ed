import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sealBatch, stopBatch } from '../../../shared/queue/batch-record.ts';
import {
  claimCallbacks,
  type Delivery,
  dueNotice,
  endCallback,
  oldestDueMs,
  readDeadCallbacks,
  replayCallback,
} from '../../../shared/queue/callbacks.ts';
import { callbackField } from '../../../shared/queue/due-callback.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys, PREFIX } from '../../../shared/queue/keys.ts';
import { settleWithoutRun } from '../../../shared/queue/settle-without-run.ts';
import { batchJob, created, sendJobs } from './batch.ts';
import { admitted, begun, EXITED, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;

beforeAll(async () => {
  server = await startRedis();
});
beforeEach(() => server.redis.flushall());
afterAll(() => server.stop());

const to = (target = 'a.example:443', includeOutput = true) => ({
  url: `https://${target}/x`,
  target,
  includeOutput,
});

const claim = (over: Partial<Parameters<typeof claimCallbacks>[1]> = {}): Promise<Delivery[]> =>
  claimCallbacks(server.redis, {
    wanted: 100,
    leaseMs: 60_000,
    maxOfLane: 100,
    maxOfTenant: 100,
    underWay: {},
    ...over,
  });

const notify = (subject: string, over: { target?: string; tenant?: string } = {}) =>
  dueNotice(server.redis, {
    type: 'test.notice',
    subject,
    tenant: over.tenant ?? 'default',
    data: '{}',
    to: to(over.target),
  });

/** Keys of callbacks that are left. */
const left = async (): Promise<string[]> => (await server.redis.keys(`${PREFIX}:callback*`)).sort();

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('the end of a job', () => {
  it('makes its callback due in the same step, once', async () => {
    const { redis } = server;
    const id = await admitted(redis, { callback: callbackField(to('a.example:443', false)) });
    const start = await begun(redis, id);
    expect(await left()).toEqual([]);
    await settle(redis, id, start, { finishedAtMs: 1_000 });
    await settle(redis, id, start);
    expect(await claim()).toEqual([
      {
        id: `cb_${id}`,
        type: 'job.done',
        subject: id,
        tenant: 'default',
        lane: 'default a.example:443',
        url: 'https://a.example:443/x',
        atMs: 1_000,
        attempt: 1,
        includeOutput: false,
        outcome: JSON.stringify(EXITED),
        data: null,
      },
    ]);
  });

  it('that never ran makes it due as well', async () => {
    const { redis } = server;
    const id = await admitted(redis, { callback: callbackField(to()) });
    const record = await readRecord(redis, id);
    if (record === undefined) throw new Error('there is no job');
    await settleWithoutRun(redis, { id, record, outcome: { kind: 'expired' } });
    expect((await claim()).map(({ outcome }) => outcome)).toEqual(['{"kind":"expired"}']);
  });

  it('without a callback leaves nothing', async () => {
    const id = await admitted(server.redis);
    await settle(server.redis, id, await begun(server.redis, id));
    expect(await left()).toEqual([]);
  });

  it('of a batch makes its own callback due', async () => {
    const { redis } = server;
    const batch = await created(redis);
    const job = batchJob(0, { callback: callbackField(to()) });
    await sendJobs(redis, batch, [job, batchJob(1)]);
    await settle(redis, job.id, await begun(redis, job.id));
    expect((await claim()).map(({ subject }) => subject)).toEqual([job.id]);
  });
});

describe('the end of a batch', () => {
  const callback = callbackField(to());

  it('makes its callback due with its last job, once', async () => {
    const { redis } = server;
    const batch = await created(redis, { callback });
    const jobs = [batchJob(0), batchJob(1)];
    await sendJobs(redis, batch, jobs);
    await sealBatch(redis, batch);
    for (const { id } of jobs) {
      expect(await left()).toEqual([]);
      await settle(redis, id, await begun(redis, id), { finishedAtMs: 2_000 });
    }
    await sealBatch(redis, batch);
    const [due, ...others] = await claim();
    expect(due).toMatchObject({ type: 'batch.done', subject: batch, outcome: null, atMs: 2_000 });
    expect(others).toEqual([]);
  });

  it('whose upload ends after its jobs makes it due then, as an empty one does', async () => {
    const { redis } = server;
    const [late, empty] = [await created(redis, { callback }), await created(redis, { callback })];
    const job = batchJob(0);
    await sendJobs(redis, late, [job]);
    await settle(redis, job.id, await begun(redis, job.id));
    expect(await left()).toEqual([]);
    await sealBatch(redis, late);
    await sealBatch(redis, empty);
    await sealBatch(redis, empty);
    expect((await claim()).map(({ subject }) => subject).sort()).toEqual([late, empty].sort());
  });

  it('that is cancelled makes it due once all its jobs have ended', async () => {
    const { redis } = server;
    const batch = await created(redis, { callback });
    const job = batchJob(0);
    await sendJobs(redis, batch, [job]);
    await stopBatch(redis, batch);
    await sealBatch(redis, batch);
    expect(await left()).toEqual([]);
    const record = await readRecord(redis, job.id);
    if (record === undefined) throw new Error('there is no job');
    const outcome = { kind: 'cancelled', by: 'caller' } as const;
    await settleWithoutRun(redis, { id: job.id, record, outcome });
    expect((await claim()).map(({ type }) => type)).toEqual(['batch.done']);
  });
});

describe('a delivery', () => {
  it('is claimed by one, and by another once its lease is over', async () => {
    await notify('n1');
    expect((await claim({ leaseMs: 50 })).map(({ attempt }) => attempt)).toEqual([1]);
    expect(await claim()).toEqual([]);
    await pause(60);
    expect((await claim()).map(({ attempt }) => attempt)).toEqual([2]);
  });

  it('is claimed by one of twenty who ask at once', async () => {
    await notify('n1');
    const claims = await Promise.all(Array.from({ length: 20 }, () => claim()));
    expect(claims.flat()).toHaveLength(1);
  });

  it('that was sent leaves nothing', async () => {
    await notify('n1');
    const [delivery] = await claim();
    expect(await endCallback(server.redis, delivery as Delivery, { became: 'sent' })).toBe(true);
    expect(await left()).toEqual([]);
  });

  it('is due again after its wait', async () => {
    await notify('n1');
    const [delivery] = await claim();
    await endCallback(server.redis, delivery as Delivery, { became: 'retried', waitMs: 80 });
    expect(await claim()).toEqual([]);
    await pause(100);
    expect((await claim()).map(({ attempt }) => attempt)).toEqual([2]);
  });

  it('that is returned is due at once, and its attempt does not count', async () => {
    await notify('n1');
    const [delivery] = await claim();
    await endCallback(server.redis, delivery as Delivery, { became: 'returned' });
    expect((await claim()).map(({ attempt }) => attempt)).toEqual([1]);
  });

  it('is not ended by an attempt whose lease was over, unless it had arrived', async () => {
    await notify('n1');
    const [first] = await claim({ leaseMs: 1 });
    await pause(5);
    const [second] = await claim();
    const { redis } = server;
    const dead = { became: 'dead', reason: 'late' } as const;
    expect(await endCallback(redis, first as Delivery, dead)).toBe(false);
    expect(await endCallback(redis, first as Delivery, { became: 'retried', waitMs: 0 })).toBe(
      false,
    );
    expect(await endCallback(redis, second as Delivery, dead)).toBe(true);
    expect(await endCallback(redis, first as Delivery, { became: 'sent' })).toBe(true);
    expect(await left()).toEqual([]);
    expect(await endCallback(redis, second as Delivery, { became: 'sent' })).toBe(false);
  });

  it('tells how long the oldest has been due', async () => {
    expect(await oldestDueMs(server.redis)).toBeUndefined();
    const before = Date.now();
    await notify('n1');
    const dueMs = (await oldestDueMs(server.redis)) ?? 0;
    expect(Math.abs(dueMs - before)).toBeLessThan(5_000);
  });
});

describe('lanes', () => {
  it('of targets with enough under way are passed over for those behind them', async () => {
    for (const n of [1, 2, 3, 4]) await notify(`slow${n}`, { target: 'slow.example:443' });
    await notify('fast1', { target: 'fast.example:443' });
    const first = await claim({ wanted: 3, maxOfLane: 2 });
    // Due in one millisecond, lanes may come in another order.
    expect(first.map(({ subject }) => subject).sort()).toEqual(['fast1', 'slow1', 'slow2']);
    const underWay = { 'default slow.example:443': 2 };
    expect(await claim({ maxOfLane: 2, underWay })).toEqual([]);
    const free = { 'default slow.example:443': 1 };
    expect((await claim({ maxOfLane: 2, underWay: free })).map(({ subject }) => subject)).toEqual([
      'slow3',
    ]);
  });

  it('of a tenant with enough under way stand aside for those of others', async () => {
    for (const n of [1, 2, 3]) await notify(`a${n}`, { target: `t${n}.example:443`, tenant: 'a' });
    await notify('b1', { tenant: 'b' });
    const first = await claim({ maxOfTenant: 2 });
    expect(first.map(({ subject }) => subject)).toEqual(['a1', 'a2', 'b1']);
    const underWay = { 'a t1.example:443': 1, 'a t2.example:443': 1 };
    expect(await claim({ maxOfTenant: 2, underWay })).toEqual([]);
    await pause(250);
    expect((await claim({ maxOfTenant: 2 })).map(({ subject }) => subject)).toEqual(['a3']);
  });

  it('are no hindrance in any number: past those that stand aside the claim goes on', async () => {
    const many = Array.from({ length: 600 }, (_, n) =>
      notify(`a${n}`, { target: `t${n}.example:443`, tenant: 'a' }),
    );
    await Promise.all(many);
    await notify('b1', { tenant: 'b' });
    const underWay = { 'a t0.example:443': 16 };
    const found: string[] = [];
    for (let n = 0; n < 4 && found.length === 0; n++) {
      found.push(...(await claim({ maxOfTenant: 16, underWay })).map(({ subject }) => subject));
    }
    expect(found).toEqual(['b1']);
  });
});

describe('a dead letter', () => {
  async function bury(subject: string, tenant = 'default'): Promise<void> {
    await notify(subject, { tenant });
    const [delivery] = await claim();
    const end = { became: 'dead', reason: 'the receiver answered 500' } as const;
    await endCallback(server.redis, delivery as Delivery, end);
  }

  it('is listed for its tenant alone, the newest first, with why', async () => {
    await bury('n1');
    await pause(2);
    await bury('n2');
    await bury('other', 'two');
    const dead = await readDeadCallbacks(server.redis, 'default', 10);
    expect(dead.map(({ subject }) => subject)).toEqual(['n2', 'n1']);
    expect(dead[0]).toMatchObject({
      id: 'cb_n2',
      type: 'test.notice',
      url: 'https://a.example:443/x',
      attempts: 1,
      reason: 'the receiver answered 500',
    });
    expect(await readDeadCallbacks(server.redis, 'default', 1)).toHaveLength(1);
    expect(await claim()).toEqual([]);
    expect(await server.redis.exists(keys.callbacksWaiting())).toBe(0);
  });

  it('is kept for 7 days', async () => {
    await bury('n1');
    const ttl = await server.redis.pttl(keys.callback('cb_n1'));
    expect(ttl).toBeGreaterThan(6.9 * 24 * 3_600_000);
    expect(ttl).toBeLessThanOrEqual(7 * 24 * 3_600_000);
  });

  it('is due again when its tenant replays it, as if it were new, and then has no end', async () => {
    await bury('n1');
    expect(await replayCallback(server.redis, 'two', 'cb_n1')).toBe(false);
    expect(await replayCallback(server.redis, 'default', 'cb_n2')).toBe(false);
    expect(await replayCallback(server.redis, 'default', 'cb_n1')).toBe(true);
    expect(await replayCallback(server.redis, 'default', 'cb_n1')).toBe(false);
    expect(await server.redis.pttl(keys.callback('cb_n1'))).toBe(-1);
    expect(await readDeadCallbacks(server.redis, 'default', 10)).toEqual([]);
    expect(await claim()).toMatchObject([{ id: 'cb_n1', attempt: 1 }]);
  });

  it('is not made of a delivery that waits or is under way, by replaying it', async () => {
    await notify('n1');
    expect(await replayCallback(server.redis, 'default', 'cb_n1')).toBe(false);
  });

  it('of a tenant with a thousand takes the place of the oldest', async () => {
    const { redis } = server;
    for (let n = 0; n < 1_000; n++) {
      await redis.hset(keys.callback(`cb_old${n}`), { tenant: 'default', at: 0, deadAt: 1 });
      await redis.zadd(keys.callbacksDead('default'), Date.now() - 1_000 + n, `cb_old${n}`);
    }
    await bury('new');
    const dead = await readDeadCallbacks(redis, 'default', 2_000);
    expect(dead).toHaveLength(1_000);
    expect(await redis.exists(keys.callback('cb_old0'))).toBe(0);
    expect(await redis.exists(keys.callback('cb_old1'))).toBe(1);
  });

  it('is what a callback becomes at once when too many of its tenant wait', async () => {
    await server.redis.hset(keys.callbacksWaiting(), 'default', 20_000);
    await notify('one too many');
    await notify('of another', { tenant: 'two' });
    const dead = await readDeadCallbacks(server.redis, 'default', 10);
    expect(dead).toMatchObject([{ subject: 'one too many', attempts: 0 }]);
    expect((await claim()).map(({ tenant }) => tenant)).toEqual(['two']);
  });
});

describe('a notice', () => {
  it('is not taken while one of its subject is to be sent', async () => {
    expect(await notify('n1')).toBe(true);
    expect(await notify('n1')).toBe(false);
    const [delivery, ...others] = await claim();
    expect(others).toEqual([]);
    await endCallback(server.redis, delivery as Delivery, { became: 'sent' });
    expect(await notify('n1')).toBe(true);
  });
});
