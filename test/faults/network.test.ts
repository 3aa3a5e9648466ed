/** Rows of the fault matrix: the network between our processes and Redis drops, loses one direction, and flaps. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { show } from './kit/figures.ts';
import { type RedisServer, startRedisServer } from './kit/redis-servers.ts';
import { startTcpProxy, type TcpProxy } from './kit/tcp-proxy.ts';
import { heldLine, throughFault } from './kit/through-fault.ts';
import { STOCK, startTrial, type Trial } from './kit/trial.ts';

let trial: Trial;
let server: RedisServer;
const releases: (() => unknown)[] = [];
afterEach(async () => {
  await trial.stop();
  for (const release of releases.splice(0).reverse()) await release();
});

const through = ({ port }: TcpProxy) => ({
  env: { COFFERDAM_REDIS_URL: `redis://127.0.0.1:${port}` },
});

async function startNetwork(): Promise<{ line: () => Promise<TcpProxy> }> {
  server = await startRedisServer();
  releases.push(() => server.stop());
  trial = await startTrial({ redisUrl: server.url });
  return {
    async line() {
      const proxy = await startTcpProxy({ port: server.port });
      releases.push(() => proxy.stop());
      return proxy;
    },
  };
}

test('N1: a worker is cut off from Redis for ten seconds, by silence and then by refusal: its jobs end once', async () => {
  const { line } = await startNetwork();
  const proxy = await line();
  const { world } = trial;
  const api = await world.startApi();
  await world.startWorker(through(proxy));
  await world.startWorker();
  const how = { apis: [api], stock: 2 * STOCK, program: 'sleep 1' };
  const held = await throughFault(trial, how, async () => {
    for (const cut of [proxy.hold, proxy.cut]) {
      cut();
      await sleep(10_000);
      proxy.heal();
      await sleep(2_000);
    }
  });
  show('N1', `10 s of silence, 10 s of refusal; ${heldLine(held)}`);
});

test('N2: what Redis answers is lost while requests arrive: what was done twice counts once', async () => {
  const { line } = await startNetwork();
  const [toApi, toWorker] = [await line(), await line()];
  const { world } = trial;
  const api = await world.startApi(through(toApi));
  await world.startWorker(through(toWorker));
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async () => {
    for (const proxy of [toApi, toWorker, toApi, toWorker]) {
      proxy.dropReplies();
      await sleep(3_000);
      proxy.heal();
      await sleep(1_000);
    }
  });
  expect(held.verdict.counts.failed).toBeGreaterThan(0);
  show('N2', heldLine(held));
});

test('N3: the network flaps: jobs get through between two breaks, each once', async () => {
  const { line } = await startNetwork();
  const [toApi, toWorker] = [await line(), await line()];
  const { world } = trial;
  const api = await world.startApi(through(toApi));
  await world.startWorker(through(toWorker));
  const held = await throughFault(trial, { apis: [api], stock: STOCK }, async () => {
    const stops = [
      toApi.flap({ upMs: 900, downMs: 300 }),
      toWorker.flap({ upMs: 700, downMs: 400 }),
    ];
    await sleep(15_000);
    for (const stop of stops) await stop();
  });
  show('N3', heldLine(held));
});
