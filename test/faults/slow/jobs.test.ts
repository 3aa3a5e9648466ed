/** Rows of jobs that take minutes. FAULTS_MINUTES says how many of J7, instead of ten. */
import { spawn } from 'node:child_process';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { percentile } from '../../../bench/times.ts';
import type { JobResult } from '../../../shared/contract/result.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { until } from '../../e2e/watching.ts';
import { writeTenants } from '../../helpers/tenants.ts';
import { createClient, nonceJob } from '../kit/client.ts';
import { startEngineCut } from '../kit/engine-cut.ts';
import { show } from '../kit/figures.ts';
import { keepBusy } from '../kit/load.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';

const MINUTES = Number(process.env.FAULTS_MINUTES ?? 10);
const MINUTE_MS = 60_000;
/** Longer than a lock lasts: each has to be renewed a few times. */
const JOB_SECONDS = 40;

let trial: Trial;
afterEach(() => trial.stop());

/** After so many the pause before the next is some seconds long. */
const TRIES = 4;

test('J3: 1,000 jobs whose sandboxes cannot be made come back spread over time, and all end once they can', async () => {
  const cut = await startEngineCut();
  trial = await startTrial({
    env: { COFFERDAM_ENGINE: cut.address, COFFERDAM_SLOTS: '16', COFFERDAM_POOL_MAX_READY: '0' },
  });
  const { world, redis } = trial;
  world.own(() => cut.stop());
  const api = await world.startApi();
  await world.startWorker();
  const client = trial.clientOf([api]);
  const before = await trial.takeCensus();
  cut.down();
  const jobs = Array.from({ length: 1_000 }, () => nonceJob());
  await client.submitBatchSurely(jobs, { isolation: 'group' });
  await until('each was handed back a few times', 120_000, async () => {
    const pipeline = redis.pipeline();
    for (const id of await redis.zrange(keys.open(), 0, -1))
      pipeline.hget(keys.job(id), 'handedBack');
    const answers = (await pipeline.exec()) ?? [];
    return answers.length === jobs.length && answers.every(([, tries]) => Number(tries) >= TRIES);
  });
  // By now they pause for seconds. In step they would all come within one; spread, none sees more than a part of them.
  cut.forget();
  await sleep(10_000);
  const { refused, mostInASecond } = cut.tally();
  cut.up();
  const { verdict } = await trial.judge([client], { withinMs: 240_000 });
  expect(verdict.outcomes).toEqual({ exited: 1_000 });
  expect(verdict.counts.secondStarts).toBe(0);
  expect(mostInASecond).toBeLessThan(refused / 3);
  await trial.expectNothingLeaked(before, { stock: 0 });
  show('J3', `${refused} refused calls to the engine in 10 s, at most ${mostInASecond} in one`);
});

test('J5: a tenant that floods waits for itself: another’s jobs start as before', async () => {
  const { file, keys: tenantKeys, remove } = writeTenants({ flood: {}, light: {} });
  trial = await startTrial({ env: { COFFERDAM_TENANTS: file } });
  const { world, history } = trial;
  world.own(remove);
  const api = await world.startApi();
  await world.startWorker();
  const before = await trial.takeCensus();
  const clientOf = (key: string) => createClient({ urls: [api.url], key, history });
  const [light, flood] = [clientOf(tenantKeys.light), clientOf(tenantKeys.flood)];
  const queuedMs = async (): Promise<number> => {
    const id = await light.submitSurely(nonceJob(), { waitSeconds: 10 });
    const seen = await until('it is done', 60_000, () => light.get(id, 10));
    return (JSON.parse(seen?.text ?? 'null') as JobResult).timing.queuedMs;
  };
  const idle: number[] = [];
  for (let count = 0; count < 10; count++) idle.push(await queuedMs());
  const flooding = Array.from({ length: 2_000 }, () => nonceJob('sleep 0.02'));
  await flood.submitBatchSurely(flooding, { isolation: 'group', lane: 'interactive' });
  const beside: number[] = [];
  for (let count = 0; count < 20; count++) beside.push(await queuedMs());
  const isStillFlooded = (await trial.redis.zcard(keys.open())) > 100;
  expect(isStillFlooded).toBe(true);
  // One turn of a slot, and what the machine adds; in line behind the flood it would be a minute.
  expect(percentile(beside, 95)).toBeLessThan(2_000);
  await trial.judge([light, flood], { withinMs: 200_000 });
  await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
  show(
    'J5',
    `queued p95 ${Math.round(percentile(idle, 95))} ms alone, ${Math.round(percentile(beside, 95))} ms beside 2,000 queued by another`,
  );
});

test(
  'J7: locks are renewed while every core is busy: no job starts a second time',
  async () => {
    trial = await startTrial();
    const { world } = trial;
    const api = await world.startApi();
    for (let count = 0; count < 2; count++) await world.startWorker();
    const before = await trial.takeCensus();
    // Two for each core, as urgent as the workers themselves.
    for (let count = 0; count < 2 * os.availableParallelism(); count++) {
      const hog = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
      world.own(() => hog.kill('SIGKILL'));
    }
    const client = trial.clientOf([api]);
    const load = keepBusy(4, async () => {
      const id = await client.submitSurely(
        nonceJob(`sleep ${JOB_SECONDS}`, { timeoutMs: 5 * MINUTE_MS }),
      );
      while ((await client.get(id, 10))?.state !== 'done');
    });
    await sleep(MINUTES * MINUTE_MS);
    await load.stop();
    const { verdict } = await trial.judge([client], { maxStarts: 1 });
    expect(Object.keys(verdict.outcomes)).toEqual(['exited']);
    await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
    show(
      'J7',
      `${MINUTES} minutes, ${verdict.counts.accepted} jobs of ${JOB_SECONDS} s, ${verdict.counts.secondStarts} second starts`,
    );
  },
  (MINUTES + 10) * MINUTE_MS,
);
