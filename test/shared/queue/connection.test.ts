import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { checkRedis } from '../../../shared/queue/check.ts';
import {
  type ConnectionKind,
  connectRedis,
  isStoreFailure,
  waitUntilReady,
} from '../../../shared/queue/connection.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { startRedisCluster, startRedisServer } from '../../faults/kit/redis-servers.ts';
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
      const redis = await server.connect('request');
      expect(isStoreFailure(await rejectionOf(redis.set('a', 'b')))).toBe(true);
    }));

  it('a command of ours because it is wrong is a defect of ours, and no failure of the store', async () => {
    const error = await rejectionOf(full.redis.call('NOSUCHCOMMAND'));
    expect(error).toBeInstanceOf(Error);
    expect(isStoreFailure(error)).toBe(false);
    expect(isStoreFailure('Command timed out')).toBe(false);
    expect(isStoreFailure(new TypeError('x is not a function'))).toBe(false);
  });
});

const KEY = keys.installation();
const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

async function connect(url: string, kind: ConnectionKind): Promise<Redis> {
  const redis = connectRedis({ url }, kind, silent);
  releases.push(() => redis.disconnect());
  await waitUntilReady(redis, 10_000);
  return redis;
}

describe('a Cluster of three primaries', () => {
  it('answers what names no key from the server that holds our keys', async () => {
    const cluster = await startRedisCluster();
    releases.push(cluster.stop);
    const owner = await cluster.ownerOf(KEY);
    for (const one of cluster.servers) {
      if (one !== owner) await one.call('CONFIG', 'SET', 'appendfsync', 'everysec');
    }
    const redis = await connect(cluster.url, 'request');
    for (let time = 0; time < 10; time++) {
      expect(await checkRedis(redis)).toMatchObject({ durability: 'strict', faults: [] });
    }
    await owner.call('CONFIG', 'SET', 'appendfsync', 'everysec');
    expect(await checkRedis(redis)).toMatchObject({ durability: 'relaxed' });
  });

  it('that stops as a whole and comes back is used again by every connection', async () => {
    const cluster = await startRedisCluster();
    releases.push(cluster.stop);
    const request = await connect(cluster.url, 'request');
    const patient = await connect(cluster.url, 'patient');
    await request.set(KEY, 'a');
    await Promise.all(cluster.servers.map((one) => one.kill()));
    const waiting = patient.get(KEY);
    await expect(request.get(KEY)).rejects.toSatisfy(isStoreFailure);
    await Promise.all(cluster.servers.map((one) => one.start()));
    expect(await waiting).toBe('a');
    await expect.poll(() => request.get(KEY).catch(() => ''), { timeout: 10_000 }).toBe('a');
  });
});

describe('a server that becomes a replica under a connection', () => {
  it('is left by it, and a patient command waits for a primary', async () => {
    const server = await startRedisServer();
    releases.push(() => server.stop());
    const request = await connect(server.url, 'request');
    const patient = await connect(server.url, 'patient');
    const closed = new Promise((resolve) => request.once('close', resolve));
    await server.call('REPLICAOF', '127.0.0.1', '1');
    await expect(request.set(KEY, 'a')).rejects.toSatisfy(isStoreFailure);
    await closed;
    const waiting = patient.set(KEY, 'b');
    await expect.poll(() => request.status).toBe('ready');
    expect((await checkRedis(request)).refusal).toContain('came a replica');
    await server.call('REPLICAOF', 'NO', 'ONE');
    expect(await waiting).toBe('OK');
  });
});
