/** A worker whose blocking connection to Redis swallows what the queue has for it, while all others work. */
import net from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { until } from '../../e2e/watching.ts';
import { freePort } from '../../helpers/redis.ts';
import { nonceJob } from '../kit/client.ts';
import { show } from '../kit/figures.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';

let trial: Trial;
afterEach(() => trial.stop());

/** Passes everything on, but for connections that wait for jobs: those hear nothing while it is told so. */
async function startDeafProxy(target: number) {
  let isDeaf = false;
  const server = net.createServer((client) => {
    const redis = net.connect(target, '127.0.0.1');
    let isWaiting = false;
    client.on('data', (bytes: Buffer) => {
      if (bytes.includes('bzpopmin')) isWaiting = true;
      if (!(isDeaf && isWaiting)) redis.write(bytes);
    });
    redis.on('data', (bytes: Buffer) => {
      if (!(isDeaf && isWaiting)) client.write(bytes);
    });
    for (const [one, other] of [
      [client, redis],
      [redis, client],
    ] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `redis://127.0.0.1:${port}`,
    beDeaf(is: boolean) {
      isDeaf = is;
    },
    stop: () => server.close(),
  };
}

/** An API, and a worker whose way to Redis can be made deaf. */
async function startDeafWorker() {
  trial = await startTrial();
  const { world } = trial;
  const proxy = await startDeafProxy(Number(new URL(world.redisUrl).port));
  world.own(proxy.stop);
  const api = await world.startApi();
  const worker = await world.startWorker({ env: { COFFERDAM_REDIS_URL: proxy.url } });
  return { proxy, worker, client: trial.clientOf([api]) };
}

test('jobs are done though the connection on which their worker waits for them hears nothing', async () => {
  const { proxy, worker, client } = await startDeafWorker();
  await client.submitSurely(nonceJob(), { waitSeconds: 10 });
  const before = await trial.takeCensus();
  proxy.beDeaf(true);
  const sentAtMs = performance.now();
  const id = await client.submitSurely(nonceJob());
  await until('the job is done', 90_000, async () => (await client.get(id))?.state === 'done');
  const tookMs = performance.now() - sentAtMs;
  proxy.beDeaf(false);
  expect(worker.isUp).toBe(true);
  const { verdict } = await trial.judge([client], { maxStarts: 1 });
  expect(verdict.outcomes).toEqual({ exited: 2 });
  await trial.expectNothingLeaked(before, { stock: STOCK });
  show('G10', `a job beside a deaf connection was done after ${Math.round(tookMs)} ms`);
});
