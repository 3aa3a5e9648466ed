import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createResults, type Results } from '../../services/api/results.ts';
import { channels, keys } from '../../shared/queue/keys.ts';
import { admitted, begun, newId, settle } from '../shared/queue/job.ts';
import { eventually, silent, startRedis, type TestRedis } from '../shared/queue/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis({ appendonly: 'yes' });
});
afterAll(() => server.stop());

let instance: string;
let redis: Redis;
let subscriber: Redis;
let results: Results;
beforeEach(async () => {
  instance = newId();
  redis = await server.connect();
  subscriber = await server.connect();
  results = createResults({ redis, subscriber, instance, log: silent });
  await results.start();
});
afterEach(() => {
  results.stop();
  redis.disconnect();
  subscriber.disconnect();
});

const end = async (id: string, result: string): Promise<void> => {
  await settle(server.redis, id, await begun(server.redis, id), { result });
};

describe('waiting for a result', () => {
  it('ends with the message that carries it, long before anything is read again', async () => {
    const id = await admitted(server.redis, { replyTo: instance });
    const waiting = results.expect(id, 60_000);
    const startedAt = Date.now();
    await end(id, 'line one\nline two');
    expect(await waiting.result).toBe('line one\nline two');
    expect(Date.now() - startedAt).toBeLessThan(1400);
  });

  it('ends with a large result, which the message only names', async () => {
    const id = await admitted(server.redis, { replyTo: instance });
    const waiting = results.expect(id, 60_000);
    const large = 'x'.repeat(100_000);
    await end(id, large);
    expect(await waiting.result).toBe(large);
  });

  it('is over when its time is, with nothing', async () => {
    const startedAt = Date.now();
    expect(await results.expect(newId(), 50).result).toBeUndefined();
    expect(Date.now() - startedAt).toBeLessThan(2000);
  });

  it('is over when it is not wanted any more', async () => {
    const waiting = results.expect(newId(), 60_000);
    waiting.cancel();
    waiting.cancel();
    expect(await waiting.result).toBeUndefined();
  });

  it('serves everyone who waits for one job, each in their own time', async () => {
    const id = await admitted(server.redis, { replyTo: instance });
    const [short, long, other] = [50, 60_000, 60_000].map((ms) => results.expect(id, ms).result);
    expect(await short).toBeUndefined();
    await end(id, 'r');
    expect(await Promise.all([long, other])).toEqual(['r', 'r']);
  });

  it('finds a result whose message was lost', async () => {
    const id = await admitted(server.redis);
    const waiting = results.expect(id, 60_000);
    await end(id, 'unannounced');
    expect(await waiting.result).toBe('unannounced');
  });

  it('ignores messages about jobs that nobody waits for', async () => {
    await server.redis.publish(channels.replies(instance), `${newId()}\nr`);
    await server.redis.publish(channels.replies(instance), newId());
    await server.redis.publish(channels.replies(instance), '');
    expect(await results.expect(newId(), 50).result).toBeUndefined();
  });

  it('is over for everyone when this process stops', async () => {
    const waiting = [1, 2, 3].map(() => results.expect(newId(), 60_000).result);
    results.stop();
    expect(await Promise.all(waiting)).toEqual([undefined, undefined, undefined]);
  });

  it('survives Redis going away and coming back', async () => {
    const id = await admitted(server.redis, { replyTo: instance });
    const waiting = results.expect(id, 60_000);
    await server.restart();
    await end(id, 'after the return');
    expect(await waiting.result).toBe('after the return');
  });

  it('hears messages again after its subscription was cut', async () => {
    const before = await server.redis.client('ID');
    await server.redis.client('KILL', 'TYPE', 'pubsub');
    expect(await server.redis.client('ID')).toBe(before);
    await eventually('the subscription', async () => {
      const [, count] = (await server.redis.pubsub('NUMSUB', channels.replies(instance))) as [
        string,
        number,
      ];
      return count === 1;
    });
    const id = await admitted(server.redis, { replyTo: instance });
    const waiting = results.expect(id, 60_000);
    await end(id, 'heard');
    expect(await waiting.result).toBe('heard');
  });
});

describe('joining the waiters of a job that another process accepted', () => {
  it('ends with the message, too', async () => {
    const id = await admitted(server.redis, { replyTo: 'another' });
    const joined = results.join(id, 60_000);
    await eventually('the watch', async () => (await server.redis.scard(keys.watchers(id))) === 1);
    await end(id, 'r');
    expect(await joined).toBe('r');
  });

  it('answers at once when the job is done or unknown', async () => {
    const id = await admitted(server.redis);
    await end(id, 'r');
    expect(await results.join(id, 60_000)).toBe('r');
    expect(await results.join(newId(), 60_000)).toBeUndefined();
  });

  it('answers nothing of a job whose result is gone', async () => {
    const id = await admitted(server.redis);
    await end(id, 'r');
    await server.redis.del(keys.result(id));
    expect(await results.join(id, 60_000)).toBeUndefined();
  });

  it('leaves no waiter behind when Redis fails', async () => {
    redis.disconnect();
    await expect(results.join(newId(), 60_000)).rejects.toThrow(/closed/i);
  });
});
