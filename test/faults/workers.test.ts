/** Rows of the fault matrix: workers that are killed, stopped, blocked, replaced and told to stop. */
import { afterEach, expect, test } from 'vitest';
import { until } from '../e2e/watching.ts';
import { nonceJob } from './kit/client.ts';
import { startTrial, type Trial, type TrialOptions } from './kit/trial.ts';

const ROW_MS = 240_000;
/** Two slots, two ready sandboxes at most: a census knows what a stock may be. */
const TWO_SLOTS = {
  COFFERDAM_SLOTS: '2',
  COFFERDAM_RESERVED_SLOTS: '1',
  COFFERDAM_POOL_MAX_READY: '2',
};

let trial: Trial;
const begin = async (options: TrialOptions = {}): Promise<Trial> => {
  trial = await startTrial({ ...options, env: { ...TWO_SLOTS, ...options.env } });
  return trial;
};
afterEach(() => trial.stop());

test(
  'W2: all workers are killed with 200 jobs queued: every job ends once, none is missing',
  async () => {
    const { world } = await begin();
    const api = await world.startApi();
    const workers = [await world.startWorker(), await world.startWorker()];
    const client = trial.clientOf([api]);
    const jobs = Array.from({ length: 200 }, () => nonceJob('sleep 0.1'));
    const before = await trial.takeCensus();
    await client.submitBatchSurely(jobs);
    await until('some have begun', 30_000, () => trial.programs.starts().size > 10);
    trial.history.fault('both workers killed');
    await Promise.all(workers.map((worker) => worker.kill()));
    await Promise.all(workers.map((worker) => worker.start()));
    const verdict = await trial.judge(client);
    expect(verdict.counts).toMatchObject({ accepted: 200, terminal: 200 });
    expect(verdict.outcomes).toEqual({ exited: 200 });
    // No more than ran on both were started again.
    expect(verdict.counts.secondStarts).toBeLessThanOrEqual(6);
    await trial.expectNothingLeaked(before, { stock: 4 });
  },
  ROW_MS,
);
