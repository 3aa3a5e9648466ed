/** Rows of Redis that take a minute and more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { keys } from '../../../shared/queue/keys.ts';
import { until } from '../../e2e/watching.ts';
import { show } from '../kit/figures.ts';
import { startRedisCluster, startRedisServer } from '../kit/redis-servers.ts';
import { mountSmallDisk } from '../kit/small-disk.ts';
import { makeSteppedClock } from '../kit/stepped-clock.ts';
import { startTcpProxy } from '../kit/tcp-proxy.ts';
import { heldLine, throughFault, untilServed } from '../kit/through-fault.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';

let trial: Trial;
const releases: (() => unknown)[] = [];
afterEach(async () => {
  await trial.stop();
  for (const release of releases.splice(0).reverse()) await release();
});

test('R3: in a Cluster the primary that holds our keys dies: its replica takes over, and every promise holds', async () => {
  const cluster = await startRedisCluster({ withReplicas: true });
  releases.push(cluster.stop);
  trial = await startTrial({ redisUrl: cluster.url });
  const api = await trial.world.startApi();
  await trial.world.startWorker();
  let [failoverMs, backMs] = [0, 0];
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async (client) => {
    const former = await cluster.ownerOf(keys.open());
    await former.kill();
    failoverMs = await cluster.failedOver(keys.open(), former);
    backMs = await untilServed(client);
    await former.start();
    await sleep(2_000);
  });
  show('R3', `Cluster: failover ${failoverMs} ms, served ${backMs} ms after it; ${heldLine(held)}`);
});

test('R3: in a Cluster of three primaries jobs run as on one server, also when all of them are killed and start again', async () => {
  const cluster = await startRedisCluster();
  releases.push(cluster.stop);
  trial = await startTrial({ redisUrl: cluster.url });
  const api = await trial.world.startApi();
  await trial.world.startWorker();
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async () => {
    await Promise.all(cluster.servers.map((one) => one.kill()));
    await sleep(1_000);
    await Promise.all(cluster.servers.map((one) => one.start()));
  });
  show('R3', `Cluster without replicas, killed as a whole: ${heldLine(held)}`);
});

test('R5: the disk of a Redis that flushes every write is full: it ends, is started again once there is room, and has everything it confirmed', async () => {
  const disk = mountSmallDisk(32);
  releases.push(disk.remove);
  const server = await startRedisServer(
    { 'auto-aof-rewrite-percentage': '0' },
    { folder: disk.folder },
  );
  releases.push(() => server.kill());
  trial = await startTrial({ redisUrl: server.url });
  const api = await trial.world.startApi();
  await trial.world.startWorker();
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async () => {
    disk.fill();
    await until('Redis ends rather than confirm what it cannot write', 30_000, () => {
      return !server.isRunning();
    });
    await sleep(3_000);
    disk.makeRoom();
    await server.start();
  });
  show('R5', `appendfsync always: ${heldLine(held)}`);
});

test('R6: Redis answers half a second, two and five seconds late: requests fail in time, and jobs end once', async () => {
  const server = await startRedisServer();
  releases.push(() => server.stop());
  const [toApi, toWorker] = [
    await startTcpProxy({ port: server.port }),
    await startTcpProxy({ port: server.port }),
  ];
  releases.push(toApi.stop, toWorker.stop);
  const through = (port: number) => ({
    env: { COFFERDAM_REDIS_URL: `redis://127.0.0.1:${port}` },
  });
  trial = await startTrial({ redisUrl: server.url });
  const api = await trial.world.startApi(through(toApi.port));
  await trial.world.startWorker(through(toWorker.port));
  const slowest: Record<number, number> = {};
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async () => {
    for (const roundTripMs of [500, 2_000, 5_000]) {
      for (const proxy of [toApi, toWorker]) proxy.slow(roundTripMs / 2);
      const endMs = Date.now() + 15_000;
      slowest[roundTripMs] = 0;
      while (Date.now() < endMs) {
        const askedAtMs = Date.now();
        await api.caller.send('/v1/jobs', { method: 'POST', body: { script: 'x', image: 'none' } });
        slowest[roundTripMs] = Math.max(slowest[roundTripMs], Date.now() - askedAtMs);
      }
    }
    for (const proxy of [toApi, toWorker]) proxy.heal();
  });
  // However late Redis is, a caller hears of it: the commands of a request have two seconds each.
  for (const ms of Object.values(slowest)) expect(ms).toBeLessThan(10_000);
  show('R6', `slowest answers by round trip: ${JSON.stringify(slowest)}; ${heldLine(held)}`);
});

test('C2: the clock of Redis jumps a minute ahead, which ends every lock: no job starts a third time or has two results', async () => {
  const clock = makeSteppedClock();
  releases.push(clock.remove);
  const server = await startRedisServer({}, { env: clock.env });
  releases.push(() => server.stop());
  trial = await startTrial({ redisUrl: server.url });
  const api = await trial.world.startApi();
  await trial.world.startWorker();
  await trial.world.startWorker();
  const secondsAhead = async (): Promise<number> => {
    const [seconds] = (await server.call('TIME')) as string[];
    return Number(seconds) - Math.floor(Date.now() / 1_000);
  };
  const how = { apis: [api], stock: 2 * STOCK, program: 'sleep 2' };
  const held = await throughFault(trial, how, async () => {
    for (const ahead of [60, 120, 60]) {
      clock.step(ahead);
      expect(Math.abs((await secondsAhead()) - ahead)).toBeLessThanOrEqual(1);
      await sleep(8_000);
    }
  });
  show('C2', `60 s ahead, 120 s, and back to 60 s: ${heldLine(held)}`);
});
