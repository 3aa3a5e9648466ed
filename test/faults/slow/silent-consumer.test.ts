/** A worker that lives, and is given no job: its blocking connection to Redis swallows what the queue has for it. */
import net from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { until } from '../../e2e/watching.ts';
import { freePort } from '../../helpers/redis.ts';
import { nonceJob } from '../kit/client.ts';
import { show } from '../kit/figures.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';

let trial: Trial;
afterEach(() => trial.stop());

const RENEWED = 'the consumer is renewed';

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
  return { proxy, api, worker, client: trial.clientOf([api]) };
}

const problemsOf = async (url: string): Promise<string[]> =>
  ((await (await fetch(`${url}/readyz`)).json()) as { problems: string[] }).problems;

test('a consumer that hears nothing is renewed, /readyz says so, and the jobs that waited are done', async () => {
  const { proxy, api, worker, client } = await startDeafWorker();
  await client.submitSurely(nonceJob(), { waitSeconds: 10 });
  const before = await trial.takeCensus();
  proxy.beDeaf(true);
  const sentAtMs = performance.now();
  await client.submitSurely(nonceJob());
  await until('its consumer is renewed', 90_000, () => worker.log().includes(RENEWED));
  const tookMs = performance.now() - sentAtMs;
  await until('/readyz names it', 20_000, async () =>
    (await problemsOf(api.url)).join().includes(worker.id),
  );
  proxy.beDeaf(false);
  await until(
    '/readyz has no problem',
    60_000,
    async () => (await problemsOf(api.url)).length === 0,
  );
  expect(worker.isUp).toBe(true);
  const { verdict } = await trial.judge([client], { maxStarts: 1 });
  expect(verdict.outcomes).toEqual({ exited: 2 });
  await trial.expectNothingLeaked(before, { stock: STOCK });
  show('watchdog', `the consumer was renewed ${Math.round(tookMs)} ms after the first job waited`);
});

test('a worker whose new consumer hears nothing either ends, and the next one does its jobs', async () => {
  const { proxy, worker, client } = await startDeafWorker();
  proxy.beDeaf(true);
  await client.submitSurely(nonceJob());
  const { code } = await worker.exited;
  expect(code).toBe(1);
  expect(worker.log()).toContain('a new consumer was given none either');
  proxy.beDeaf(false);
  await worker.start();
  const { verdict } = await trial.judge([client], { maxStarts: 1 });
  expect(verdict.outcomes).toEqual({ exited: 1 });
});
