/** The kit's own tools do what they say: a test of a fault is worth what its fault is. */

import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type RedisServer,
  startRedisCluster,
  startRedisServer,
  startSentinelGroup,
} from './redis-servers.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

const LONG_MS = 120_000;
const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

async function throughProxy(): Promise<{ server: RedisServer; proxy: TcpProxy; redis: Redis }> {
  const server = await startRedisServer();
  releases.push(() => server.stop());
  const proxy = await startTcpProxy({ port: server.port });
  releases.push(() => proxy.stop());
  const redis = new Redis({ port: proxy.port, retryStrategy: () => 20, commandTimeout: 500 });
  redis.on('error', () => {});
  releases.push(() => redis.disconnect());
  await redis.set('a', '1');
  return { server, proxy, redis };
}

describe('the proxy', () => {
  it('held, lets nothing pass and tells nobody; opened, brings what was sent', async () => {
    const { server, proxy, redis } = await throughProxy();
    proxy.hold();
    await expect(redis.set('a', '2')).rejects.toThrow('timed out');
    expect(await server.call('GET', 'a')).toBe('1');
    expect(redis.status).toBe('ready');
    proxy.heal();
    expect(await redis.get('a')).toBe('2');
  });

  it('cut, resets what is open and takes nothing new', async () => {
    const { proxy, redis } = await throughProxy();
    const closed = new Promise((resolve) => redis.once('close', resolve));
    proxy.cut();
    await closed;
    expect(proxy.connections()).toBe(0);
    await expect(redis.get('a')).rejects.toThrow();
    proxy.heal();
    await expect.poll(() => redis.get('a').catch(() => '')).toBe('1');
  });

  it('mute, brings requests and loses replies', async () => {
    const { server, proxy, redis } = await throughProxy();
    proxy.dropReplies();
    await expect(redis.set('a', '2')).rejects.toThrow('timed out');
    expect(await server.call('GET', 'a')).toBe('2');
    proxy.heal();
    await expect.poll(() => redis.get('a').catch(() => '')).toBe('2');
  });

  it('slow, is late in both directions', async () => {
    const { proxy, redis } = await throughProxy();
    proxy.slow(100);
    const startedAtMs = Date.now();
    await redis.get('a');
    expect(Date.now() - startedAtMs).toBeGreaterThanOrEqual(195);
  });

  it('flapping, cuts and heals until it is told to stop', async () => {
    const { proxy, redis } = await throughProxy();
    let closes = 0;
    redis.on('close', () => closes++);
    const stop = proxy.flap({ upMs: 100, downMs: 50 });
    await expect.poll(() => closes, { timeout: 10_000 }).toBeGreaterThan(2);
    await stop();
    await expect.poll(() => redis.get('a').catch(() => '')).toBe('1');
  });
});

describe('a server', () => {
  it('killed, is back on its port with what it had confirmed', async () => {
    const server = await startRedisServer();
    releases.push(() => server.stop());
    await server.call('SET', 'a', '1');
    await server.kill();
    expect(server.isRunning()).toBe(false);
    await server.start();
    expect(await server.call('GET', 'a')).toBe('1');
  });

  it(
    'under Sentinel, gives way to its replica when it is killed',
    async () => {
      const group = await startSentinelGroup();
      releases.push(group.stop);
      const former = await group.primary();
      await former.kill();
      console.log(`failover under Sentinel: ${await group.failedOver(former)} ms`);
      expect(await (await group.primary()).call('SET', 'a', '1')).toBe('OK');
    },
    LONG_MS,
  );

  it(
    'of a Cluster, gives way to its replica when it is killed',
    async () => {
      const cluster = await startRedisCluster({ withReplicas: true });
      releases.push(cluster.stop);
      const former = await cluster.ownerOf('a');
      await former.kill();
      console.log(`failover in a Cluster: ${await cluster.failedOver('a', former)} ms`);
      expect(await (await cluster.ownerOf('a')).call('SET', 'a', '1')).toBe('OK');
    },
    LONG_MS,
  );
});
