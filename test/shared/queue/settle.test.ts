import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handBackJob } from '../../../shared/queue/begin.ts';
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

const INLINE_BYTES = 8192;

/** Everything that is published to these instances, from now on. */
async function listen(...instances: string[]): Promise<{ to: string; message: string }[]> {
  const heard: { to: string; message: string }[] = [];
  const subscriber = await server.connect();
  subscriber.on('message', (channel: string, message: string) => {
    heard.push({ to: channel.slice(channels.replies('').length), message });
  });
  await subscriber.subscribe(...instances.map(channels.replies));
  return heard;
}

/** Once this has come, everything published before has come as well. */
async function settled(heard: { message: string }[], instance: string): Promise<void> {
  const mark = newId();
  await redis.publish(channels.replies(instance), mark);
  await eventually('the mark', () => heard.some(({ message }) => message === mark));
  heard.splice(
    heard.findIndex(({ message }) => message === mark),
    1,
  );
}

describe('the artifacts of a start', () => {
  it('become those of the job with its result, and never those of a start that is fenced off', async () => {
    const { redis } = server;
    const id = await admitted(redis);
    const old = await begun(redis, id, 'w1');
    const current = await begun(redis, id, 'w2');
    await redis.hset(keys.startArtifacts(id, current), 'file', 'of the current start');
    expect(await settle(redis, id, current)).toBe('settled');
    await redis.hset(keys.startArtifacts(id, old), 'file', 'late');
    expect(await settle(redis, id, old)).toBe('already_done');
    expect(await redis.hget(keys.artifacts(id), 'file')).toBe('of the current start');
  });
});

describe('settling a job', () => {
  it('keeps the result and the outcome, and drops the spec', async () => {
    const id = await admitted(redis);
    const start = await begun(redis, id);
    const finishedAtMs = Date.now();
    const end = { result: 'the result', finishedAtMs };
    expect(await settle(redis, id, start, end)).toBe('settled');
    expect(await redis.get(keys.result(id))).toBe('the result');
    expect(await readRecord(redis, id)).toMatchObject({
      state: 'done',
      outcome: { kind: 'exited', exitCode: 0 },
      finishedAt: finishedAtMs,
    });
    expect(await redis.hexists(keys.job(id), 'spec')).toBe(0);
  });

  it('is open, running and unqueued no longer', async () => {
    const id = await admitted(redis);
    await settle(redis, id, await begun(redis, id));
    for (const key of [keys.open(), keys.running(), keys.unqueued()]) {
      expect(await redis.zscore(key, id)).toBeNull();
    }
  });

  it('gives result and record the time to live that was asked for', async () => {
    const id = await admitted(redis);
    await settle(redis, id, await begun(redis, id), { retainMs: 50_000 });
    for (const key of [keys.job(id), keys.result(id)]) {
      const ttl = await redis.pttl(key);
      expect(ttl).toBeGreaterThan(40_000);
      expect(ttl).toBeLessThanOrEqual(50_000);
    }
  });

  it('happens once: the first valid write wins, whoever comes after', async () => {
    const id = await admitted(redis);
    const start = await begun(redis, id);
    expect(await settle(redis, id, start, { result: 'first' })).toBe('settled');
    expect(await settle(redis, id, start, { result: 'second' })).toBe('already_done');
    expect(await settle(redis, id, null, { from: 'running', result: 'x' })).toBe('already_done');
    expect(await redis.get(keys.result(id))).toBe('first');
  });

  it('lets one of many at once win', async () => {
    const id = await admitted(redis);
    const start = await begun(redis, id);
    const connections = await Promise.all([server.connect(), server.connect(), server.connect()]);
    const replies = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        settle(connections[index % 3] ?? redis, id, start, { result: `${index}` }),
      ),
    );
    expect(replies.filter((reply) => reply === 'settled')).toHaveLength(1);
    expect(await redis.get(keys.result(id))).toBe(String(replies.indexOf('settled')));
  });

  it('is refused to an old start after a second one began', async () => {
    const id = await admitted(redis);
    const old = await begun(redis, id, 'w1');
    const current = await begun(redis, id, 'w2');
    expect(await settle(redis, id, old)).toBe('fenced');
    expect(await redis.exists(keys.result(id))).toBe(0);
    expect(await settle(redis, id, current)).toBe('settled');
  });

  it('is refused to a start that was handed back', async () => {
    const id = await admitted(redis);
    const start = await begun(redis, id);
    await handBackJob(redis, { id, start, ran: 'yes' });
    expect(await settle(redis, id, start)).toBe('fenced');
  });

  it('without a start settles only the state that it was looked at in', async () => {
    const id = await admitted(redis);
    expect(await settle(redis, id, null, { from: 'running' })).toBe('fenced');
    expect(await settle(redis, id, null)).toBe('fenced');
    await begun(redis, id);
    expect(await settle(redis, id, null, { from: 'queued' })).toBe('fenced');
    expect(await settle(redis, id, null, { from: 'running' })).toBe('settled');
  });

  it('of a job that is unknown writes nothing', async () => {
    const id = newId();
    expect(await settle(redis, id, 1)).toBe('unknown');
    expect(await redis.exists(keys.result(id), keys.job(id))).toBe(0);
  });
});

describe('whoever waits for a job', () => {
  it('hears of its end once, as the one it replies to', async () => {
    const heard = await listen('api1', 'api2');
    const id = await admitted(redis, { replyTo: 'api1' });
    await settle(redis, id, await begun(redis, id), { result: 'r' });
    await settle(redis, id, 1, { result: 'again' });
    await settled(heard, 'api1');
    expect(heard).toEqual([{ to: 'api1', message: `${id}\nr` }]);
  });

  it('hears of its end once, as a watcher, even when it is also the one replied to', async () => {
    const heard = await listen('api3', 'api4', 'api5');
    const id = await admitted(redis, { replyTo: 'api3' });
    for (const instance of ['api3', 'api4', 'api5', 'api4']) {
      expect(await watchJob(redis, { id, instance, forMs: 9000 })).toEqual({ kind: 'watching' });
    }
    await settle(redis, id, await begun(redis, id), { result: 'r' });
    await settled(heard, 'api5');
    expect(heard.map(({ to }) => to).sort()).toEqual(['api3', 'api4', 'api5']);
    expect(new Set(heard.map(({ message }) => message))).toEqual(new Set([`${id}\nr`]));
    expect(await redis.exists(keys.watchers(id))).toBe(0);
  });

  it.each([
    ['carries a result of 8 KiB', 'x'.repeat(INLINE_BYTES), true],
    ['names the id alone of a result that is one byte larger', 'x'.repeat(INLINE_BYTES + 1), false],
    ['counts bytes, not characters', 'é'.repeat(INLINE_BYTES / 2 + 1), false],
  ])('gets a message that %s', async (_, result, isInline) => {
    const instance = newId();
    const heard = await listen(instance);
    const id = await admitted(redis, { replyTo: instance });
    await settle(redis, id, await begun(redis, id), { result });
    await settled(heard, instance);
    expect(heard.map(({ message }) => message)).toEqual([isInline ? `${id}\n${result}` : id]);
    expect(await redis.get(keys.result(id))).toBe(result);
  });

  it('hears nothing of a write that was refused', async () => {
    const heard = await listen('api6');
    const id = await admitted(redis, { replyTo: 'api6' });
    const old = await begun(redis, id);
    await begun(redis, id);
    await settle(redis, id, old);
    await settled(heard, 'api6');
    expect(heard).toEqual([]);
  });
});
