/** Rows of jobs that take minutes. FAULTS_MINUTES says how many instead of ten. */
import { spawn } from 'node:child_process';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { nonceJob } from '../kit/client.ts';
import { show } from '../kit/figures.ts';
import { keepBusy } from '../kit/load.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';

const MINUTES = Number(process.env.FAULTS_MINUTES ?? 10);
const MINUTE_MS = 60_000;
/** Longer than a lock lasts: each has to be renewed a few times. */
const JOB_SECONDS = 40;

let trial: Trial;
afterEach(() => trial.stop());

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
