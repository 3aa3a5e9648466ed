import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cancelRunning, parseCancel, readCancelled } from '../../../shared/queue/cancel.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { channels, keys } from '../../../shared/queue/keys.ts';
import { watchJob } from '../../../shared/queue/watch.ts';
import { admitted, begun, newId, settle } from './job.ts';
import { eventually, startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());

const watch = (id: string, forMs = 10_000, instance = 'api') =>
  watchJob(redis, { id, instance, forMs });

describe('watching a job', () => {
  it('answers with the result of a job that is done', async () => {
    const id = await admitted(redis);
    await settle(redis, id, await begun(redis, id), { result: 'r' });
    expect(await watch(id)).toEqual({ kind: 'done', result: 'r' });
  });

  it('says that there is no such job, and joins no waiters of it', async () => {
    const id = newId();
    expect(await watch(id)).toEqual({ kind: 'unknown' });
    expect(await redis.exists(keys.watchers(id))).toBe(0);
  });

  it('joins the waiters for as long as was asked', async () => {
    const id = await admitted(redis);
    expect(await watch(id, 20_000)).toEqual({ kind: 'watching' });
    expect(await redis.smembers(keys.watchers(id))).toEqual(['api']);
    expect(await redis.pttl(keys.watchers(id))).toBeGreaterThan(15_000);
  });

  it('for a short time does not shorten the time of another', async () => {
    const id = await admitted(redis);
    await watch(id, 60_000, 'patient');
    await watch(id, 1_000, 'hasty');
    expect(await redis.pttl(keys.watchers(id))).toBeGreaterThan(30_000);
  });

  it('takes a job whose result is gone for one that is unknown', async () => {
    const id = await admitted(redis);
    await settle(redis, id, await begun(redis, id));
    await redis.del(keys.result(id));
    expect(await watch(id)).toEqual({ kind: 'unknown' });
  });
});

describe('cancelling a running job', () => {
  it('marks it and tells the workers', async () => {
    const subscriber = await server.connect();
    const heard: string[] = [];
    subscriber.on('message', (_channel: string, id: string) => heard.push(id));
    await subscriber.subscribe(channels.cancels());
    const id = await admitted(redis);
    await begun(redis, id);
    expect(await cancelRunning(redis, id, 'operator')).toBe('running');
    await eventually('the message', () => heard.length > 0);
    expect(heard.map(parseCancel)).toEqual([{ id, by: 'operator' }]);
    expect(await readRecord(redis, id)).toMatchObject({ cancelledBy: 'operator' });
  });

  it('marks a job that waits as well: it may have been handed back', async () => {
    const id = await admitted(redis);
    expect(await cancelRunning(redis, id, 'caller')).toBe('queued');
    expect(await readRecord(redis, id)).toMatchObject({ cancelledBy: 'caller' });
  });

  it('marks nothing that is done, and says in what state it found it', async () => {
    const id = await admitted(redis);
    await settle(redis, id, null, { from: 'queued' });
    expect(await cancelRunning(redis, id, 'caller')).toBe('done');
    expect((await readRecord(redis, id))?.cancelledBy).toBeUndefined();
    const unknown = newId();
    expect(await cancelRunning(redis, unknown, 'caller')).toBe('unknown');
    expect(await redis.exists(keys.job(unknown))).toBe(0);
  });

  it('leaves the job running: the worker ends it and settles it', async () => {
    const id = await admitted(redis);
    const start = await begun(redis, id);
    await cancelRunning(redis, id, 'caller');
    const outcome = { kind: 'cancelled', by: 'caller' } as const;
    expect(await settle(redis, id, start, { outcome })).toBe('settled');
  });

  it('is found again by a worker that missed the message', async () => {
    const ids = await Promise.all([1, 2, 3].map(() => admitted(redis)));
    for (const id of ids) await begun(redis, id);
    await cancelRunning(redis, ids[1] as string, 'caller');
    expect(await readCancelled(redis, [...ids, newId()])).toEqual([{ id: ids[1], by: 'caller' }]);
    expect(await readCancelled(redis, [])).toEqual([]);
  });
});
