/** What both kinds of connection do while their Redis fails over, moves, or says nothing. */

import type { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { createLog } from '../../../shared/log.ts';
import { checkRedis } from '../../../shared/queue/check.ts';
import {
  type ConnectionKind,
  connectRedis,
  isStoreFailure,
  waitUntilReady,
} from '../../../shared/queue/connection.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { defineScript } from '../../../shared/queue/script.ts';
import {
  type RedisServer,
  startRedisCluster,
  startRedisServer,
  startSentinelGroup,
} from '../kit/redis-servers.ts';
import { startTcpProxy } from '../kit/tcp-proxy.ts';

const LONG_MS = 120_000;
const READY_WITHIN_MS = 10_000;
const KEY = keys.installation();
const silent = createLog('silent');
const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

async function connect(url: string, kind: ConnectionKind): Promise<Redis> {
  const redis = connectRedis({ url }, kind, silent);
  releases.push(() => redis.disconnect());
  await waitUntilReady(redis, READY_WITHIN_MS);
  return redis;
}

/** Two ways to have a spare, and how the one that holds our keys goes. */
const GROUPS = {
  'under Sentinel': async () => {
    const group = await startSentinelGroup();
    releases.push(group.stop);
    return { url: group.url, owner: group.primary, failedOver: group.failedOver };
  },
  'in a Cluster': async () => {
    const cluster = await startRedisCluster({ withReplicas: true });
    releases.push(cluster.stop);
    return {
      url: cluster.url,
      owner: () => cluster.ownerOf(KEY),
      failedOver: (former: RedisServer) => cluster.failedOver(KEY, former),
    };
  },
};

const ADD = defineScript("return redis.call('INCRBY', KEYS[1], ARGV[1])");

describe.each(Object.entries(GROUPS))('a primary %s', (_where, start) => {
  it.each([
    ['is killed', (one: RedisServer) => one.kill()],
    ['falls silent', async (one: RedisServer) => one.freeze()],
  ])(
    'that %s: requests fail as failures of the store, patient commands get through, subscribers hear again',
    async (_how, fail) => {
      const { url, owner, failedOver } = await start();
      const [request, patient, subscriber] = [
        await connect(url, 'request'),
        await connect(url, 'patient'),
        await connect(url, 'patient'),
      ];
      const heard: string[] = [];
      subscriber.on('message', (_channel, message: string) => heard.push(message));
      await subscriber.subscribe('{cofferdam}:a-channel');
      await ADD.load(request);
      expect(await ADD.run(request, [KEY], [1])).toBe(1);

      const former = await owner();
      releases.push(() => former.thaw());
      await fail(former);
      const failedAtMs = Date.now();
      const waiting = ADD.run(patient, [KEY], [1]);
      const failed = await request.set(KEY, 'x').then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(Date.now() - failedAtMs).toBeLessThan(5_000);
      expect([failed, isStoreFailure(failed)]).toEqual([expect.any(Error), true]);
      await failedOver(former);
      // The script is not there on the former replica: it is sent whole.
      expect(await waiting).toBe(2);
      await expect
        .poll(() => ADD.run(request, [KEY], [1]).catch((e: Error) => e), { timeout: 20_000 })
        .toBe(3);
      console.log(`requests are answered ${Date.now() - failedAtMs} ms after the primary went`);
      await expect
        .poll(
          async () => {
            await patient.publish('{cofferdam}:a-channel', 'hello');
            return heard.length;
          },
          { timeout: 30_000, interval: 200 },
        )
        .toBeGreaterThan(0);
      expect((await checkRedis(request)).refusal).toBeUndefined();
    },
    LONG_MS,
  );
});

describe('a connection that nothing comes back from', () => {
  it(
    'is left and made anew, of either kind, also where it listens',
    async () => {
      const server = await startRedisServer();
      releases.push(() => server.stop());
      const proxy = await startTcpProxy({ port: server.port });
      releases.push(() => proxy.stop());
      const url = `redis://127.0.0.1:${proxy.port}`;
      const all = [
        await connect(url, 'request'),
        await connect(url, 'patient'),
        await connect(url, 'patient'),
      ];
      await all[2]?.subscribe('a-channel');
      let closes = 0;
      for (const one of all) one.on('close', () => closes++);
      // Longer than it takes to ask: what answers is kept.
      await new Promise((resolve) => setTimeout(resolve, 5_000));
      expect(closes).toBe(0);
      proxy.dropReplies();
      const startedAtMs = Date.now();
      await expect.poll(() => closes, { timeout: 30_000 }).toBeGreaterThanOrEqual(3);
      console.log(`a silent connection is left after ${Date.now() - startedAtMs} ms`);
      proxy.heal();
      for (const one of all.slice(0, 2)) {
        await expect.poll(() => one.ping().catch(() => ''), { timeout: 20_000 }).toBe('PONG');
      }
    },
    LONG_MS,
  );
});
