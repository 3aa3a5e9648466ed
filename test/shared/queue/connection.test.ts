import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectRedis, isStoreFailure, waitUntilReady } from '../../../shared/queue/connection.ts';
import { admitted } from './job.ts';
import { silent, startRedis, type TestRedis, withRedis } from './redis.ts';

const rejectionOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('waiting for Redis', () => {
  it('gives up after the time it was given', async () => {
    const redis = connectRedis({ socket: '/nonexistent/redis.sock' }, 'patient', silent);
    await expect(waitUntilReady(redis, 50)).rejects.toThrow('did not answer within 50 ms');
    expect(redis.listenerCount('ready')).toBe(0);
    redis.disconnect();
  });

  it('resolves at once on a connection that is ready', () =>
    withRedis({}, ({ redis }) => waitUntilReady(redis, 0)));
});

describe('a Redis that goes away', () => {
  it('fails a request soon, as a failure of the store', () =>
    withRedis({}, async (server) => {
      const redis = await server.connect('request');
      await server.kill();
      const startedAt = Date.now();
      const error = await rejectionOf(redis.get('a'));
      expect(Date.now() - startedAt).toBeLessThan(5000);
      expect(error).toBeInstanceOf(Error);
      expect(isStoreFailure(error)).toBe(true);
    }));

  it('fails what is under way as a failure of the store', () =>
    withRedis({}, async (server) => {
      const redis = await server.connect('request');
      const waiting = rejectionOf(redis.blpop('nothing', 0));
      await server.kill();
      expect(isStoreFailure(await waiting)).toBe(true);
    }));

  it('fails a request that it does not answer, as a failure of the store', () =>
    withRedis({}, async (server) => {
      const [redis, other] = [await server.connect('request'), await server.connect('request')];
      await other.call('CLIENT', 'PAUSE', '4000');
      expect(isStoreFailure(await rejectionOf(redis.get('a')))).toBe(true);
    }));

  it('answers a patient connection once it is back', () =>
    withRedis({ appendonly: 'yes' }, async (server) => {
      await server.redis.set('a', '1');
      await server.kill();
      const answer = server.redis.get('a');
      await server.restart();
      expect(await answer).toBe('1');
    }));
});

describe('a Redis that refuses', () => {
  let full: TestRedis;
  beforeAll(async () => {
    full = await startRedis({ maxmemory: '1mb', 'maxmemory-policy': 'noeviction' });
  });
  afterAll(() => full.stop());

  it('to write because its memory is full fails as a failure of the store', async () => {
    expect(isStoreFailure(await rejectionOf(full.redis.set('a', 'x'.repeat(100_000))))).toBe(true);
    expect(isStoreFailure(await rejectionOf(admitted(full.redis)))).toBe(true);
  });

  it('to write because it is a replica fails as a failure of the store', () =>
    withRedis({ replicaof: '127.0.0.1 1', 'replica-serve-stale-data': 'yes' }, async (server) => {
      expect(isStoreFailure(await rejectionOf(server.redis.set('a', 'b')))).toBe(true);
    }));

  it('a command of ours because it is wrong is a defect of ours, and no failure of the store', async () => {
    const error = await rejectionOf(full.redis.call('NOSUCHCOMMAND'));
    expect(error).toBeInstanceOf(Error);
    expect(isStoreFailure(error)).toBe(false);
    expect(isStoreFailure('Command timed out')).toBe(false);
    expect(isStoreFailure(new TypeError('x is not a function'))).toBe(false);
  });
});
