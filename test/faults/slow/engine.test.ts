/** An engine that stands still for longer than any job may wait for it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { until } from '../../e2e/watching.ts';
import { nonceJob } from '../kit/client.ts';
import { readiness, SLOTS_BACK_MS, startEngineTrial, untilSlotsWork } from '../kit/engine-trial.ts';
import { show } from '../kit/figures.ts';
import { keepBusy } from '../kit/load.ts';
import { type PrivateDockerd, startPrivateDockerd } from '../kit/private-dockerd.ts';
import { STOCK, type Trial } from '../kit/trial.ts';

const STOPPED_MS = 120_000;

let dockerd: PrivateDockerd;
let trial: Trial;
beforeAll(async () => {
  dockerd = await startPrivateDockerd();
});
afterAll(() => dockerd.close());
afterEach(async () => {
  dockerd.resume(); // else the worker would wait for it
  await trial.stop();
});

test('D2: the engine stands still for two minutes: the worker leaves it alone, keeps its jobs’ locks, and every job ends once it goes on', async () => {
  trial = await startEngineTrial(dockerd);
  const api = await trial.world.startApi();
  const worker = await trial.world.startWorker();
  const client = trial.clientOf([api]);
  const before = await trial.takeCensus();
  const load = keepBusy(2, (waitSeconds) =>
    client.submitSurely(nonceJob('sleep 0.5', { timeoutMs: 10_000 }), { waitSeconds }),
  );
  await until('jobs run', 60_000, () => trial.programs.starts().size > 4);
  dockerd.pause();
  const stoppedAtMs = Date.now();
  await until('the API says so', 40_000, async () =>
    (await readiness(api.url)).problems.some((problem) => /the engine of worker/.test(problem)),
  );
  await sleep(STOPPED_MS - (Date.now() - stoppedAtMs));
  expect((await readiness(api.url)).status).toBe('degraded');
  expect(worker.isUp).toBe(true);
  dockerd.resume();
  const tookMs = await untilSlotsWork(client);
  await load.stop();
  const { verdict } = await trial.judge([client]);
  expect(Object.keys(verdict.outcomes)).toEqual(['exited']);
  await trial.expectNothingLeaked(before, { stock: STOCK });
  show('D2', `two minutes: slots back ${tookMs} ms after, promised ${SLOTS_BACK_MS} ms`);
  expect(tookMs).toBeLessThan(SLOTS_BACK_MS);
});
