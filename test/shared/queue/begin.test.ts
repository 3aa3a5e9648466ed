import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { beginJob, handBackJob } from '../../../shared/queue/begin.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { lockKey, MAX_STARTS } from '../../../shared/queue/options.ts';
import { admitted, begin, begun, newId, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

describe('beginning a job', () => {
  it('gives the worker the spec and the record, and the number of the start', async () => {
    const id = await admitted(server.redis, { spec: '{"x":1}', budgetMs: 5000 });
    const nowMs = Date.now();
    const reply = await begin(server.redis, id, 'w7', nowMs);
    expect(reply).toMatchObject({ kind: 'started', start: 1, spec: '{"x":1}' });
    expect(await readRecord(server.redis, id)).toMatchObject({
      state: 'running',
      starts: 1,
      worker: 'w7',
      takenAt: nowMs,
    });
    expect(await server.redis.zscore(keys.running(), id)).toBe(String(nowMs + 5000));
  });

  it('takes away the mark of a job that may not be in the queue', async () => {
    const id = await admitted(server.redis);
    await begun(server.redis, id);
    expect(await server.redis.zscore(keys.unqueued(), id)).toBeNull();
  });

  it('is not wanted for a job that is unknown or done', async () => {
    expect(await begin(server.redis, newId())).toEqual({ kind: 'not_wanted' });
    const id = await admitted(server.redis);
    await settle(server.redis, id, await begun(server.redis, id));
    expect(await begin(server.redis, id)).toEqual({ kind: 'not_wanted' });
  });

  it('is refused to a worker whose lock went to another meanwhile, and to one whose lock is over', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id, 'holder');
    const held = { lane: 'interactive', token: 'of a worker that was cut off' } as const;
    const late = { id, nowMs: Date.now(), worker: 'late', held };
    expect(await beginJob(server.redis, late)).toEqual({ kind: 'not_wanted' });
    await server.redis.del(lockKey(held.lane, id));
    expect(await beginJob(server.redis, late)).toEqual({ kind: 'not_wanted' });
    expect(await settle(server.redis, id, start)).toBe('settled');
  });

  it('finds a job expired at the very millisecond of its expiry, and starts it just before', async () => {
    const at = Date.now() + 10_000;
    const late = await admitted(server.redis, { expiresAtMs: at });
    expect(await begin(server.redis, late, 'w', at)).toMatchObject({ kind: 'expired' });
    const early = await admitted(server.redis, { expiresAtMs: at });
    expect(await begin(server.redis, early, 'w', at - 1)).toMatchObject({ kind: 'started' });
  });

  it('changes nothing of a job that it finds expired: settling it is another step', async () => {
    const id = await admitted(server.redis, { expiresAtMs: 1 });
    await begin(server.redis, id);
    expect(await readRecord(server.redis, id)).toMatchObject({ state: 'queued', starts: 0 });
  });

  it('starts a job again that was started before its expiry', async () => {
    const id = await admitted(server.redis, { expiresAtMs: Date.now() + 5000 });
    const start = await begun(server.redis, id);
    await handBackJob(server.redis, { id, start, ran: 'yes' });
    const reply = await begin(server.redis, id, 'w', Date.now() + 60_000);
    expect(reply).toMatchObject({ kind: 'started', start: 2 });
  });

  it(`is exhausted after ${MAX_STARTS} starts`, async () => {
    const id = await admitted(server.redis);
    for (let start = 1; start <= MAX_STARTS; start++) {
      expect(await begun(server.redis, id)).toBe(start);
    }
    expect(await begin(server.redis, id)).toMatchObject({
      kind: 'exhausted',
      record: { state: 'running', starts: MAX_STARTS },
    });
  });
});

describe('while the kill switch is on', () => {
  it('a job begins with the reason for which it must not run, also when it is asked twice', async () => {
    await server.redis.hset(keys.killSwitch(), 'reason', 'Stop.');
    const id = await admitted(server.redis);
    expect(await begin(server.redis, id)).toMatchObject({ kind: 'started', killed: 'Stop.' });
    await server.redis.del(keys.killSwitch());
    const other = await admitted(server.redis);
    expect(await begin(server.redis, other)).toMatchObject({ killed: undefined });
  });
});

describe('handing a job back', () => {
  it('counts a start that ran something', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    expect(await handBackJob(server.redis, { id, start, ran: 'yes' })).toBe(true);
    const record = await readRecord(server.redis, id);
    expect(record).toMatchObject({ state: 'queued', starts: 1, handedBack: 0 });
    expect(await server.redis.zscore(keys.running(), id)).toBeNull();
  });

  it('does not count a start that ran nothing, however often', async () => {
    const id = await admitted(server.redis);
    for (let times = 1; times <= 5; times++) {
      const start = await begun(server.redis, id);
      expect(start).toBe(times);
      expect(await handBackJob(server.redis, { id, start, ran: 'no' })).toBe(true);
      expect(await readRecord(server.redis, id)).toMatchObject({ starts: 0, handedBack: times });
    }
  });

  it('never gives the number of one start to another, whatever was handed back', async () => {
    const id = await admitted(server.redis);
    const numbers: number[] = [];
    for (let times = 0; times < 4; times++) {
      numbers.push(await begun(server.redis, id));
      await handBackJob(server.redis, { id, start: numbers[times] ?? 0, ran: 'no' });
    }
    expect(new Set(numbers).size).toBe(4);
    expect(numbers.toSorted((a, b) => a - b)).toEqual(numbers);
  });

  it('is refused to a worker whose start is not the current one', async () => {
    const id = await admitted(server.redis);
    const old = await begun(server.redis, id, 'w1');
    await begun(server.redis, id, 'w2');
    expect(await handBackJob(server.redis, { id, start: old, ran: 'yes' })).toBe(false);
    expect(await readRecord(server.redis, id)).toMatchObject({ state: 'running', worker: 'w2' });
  });

  it('is one when said twice, and refused for a job that is done, and for one that is unknown', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    expect(await handBackJob(server.redis, { id, start, ran: 'yes' })).toBe(true);
    // The same call once more, after a lost answer: it has had its effect, and says so.
    expect(await handBackJob(server.redis, { id, start, ran: 'yes' })).toBe(true);
    expect(await readRecord(server.redis, id)).toMatchObject({ state: 'queued', starts: 1 });
    const again = await begun(server.redis, id);
    await settle(server.redis, id, again);
    expect(await handBackJob(server.redis, { id, start: again, ran: 'no' })).toBe(false);
    expect(await handBackJob(server.redis, { id: newId(), start: 1, ran: 'no' })).toBe(false);
  });

  it('that reaches Redis twice, after a broken connection, takes the job from no other worker', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id, 'w1');
    await handBackJob(server.redis, { id, start, ran: 'no' });
    await begun(server.redis, id, 'w2');
    expect(await handBackJob(server.redis, { id, start, ran: 'no' })).toBe(false);
    expect(await readRecord(server.redis, id)).toMatchObject({ state: 'running', worker: 'w2' });
  });
});
