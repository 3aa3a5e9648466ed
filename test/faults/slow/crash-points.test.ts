/**
 * Fifty kills at each point of a job's way, of a worker and of an API, beside one of each that lives. FAULTS_KILLS says
 * how many instead.
 */
import { afterEach, expect, test } from 'vitest';
import { UNARMED } from '../kit/armed.ts';
import { nonceJob } from '../kit/client.ts';
import {
  API_MILESTONES,
  crashAt,
  RECOVERED_WITHIN_MS,
  SANDBOX_ENDS_WITHIN_MS,
  showRecovery,
  WORKER_MILESTONES,
} from '../kit/crashes.ts';
import { show } from '../kit/figures.ts';
import { keepBusy } from '../kit/load.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';

const TIMES = Number(process.env.FAULTS_KILLS ?? 50);
const POINT_MS = 900_000;
const BATCH_WAITED_FOR_S = 30;

let trial: Trial;
afterEach(() => trial.stop());

test.each(WORKER_MILESTONES.map((at) => [at] as const))(
  'W1: a worker killed again and again at %s: each job ends once, in time, and nothing is left',
  async (at) => {
    trial = await startTrial();
    const { world, redis, engine } = trial;
    const api = await world.startApi();
    await world.startWorker();
    const victim = await world.startWorker();
    const before = await trial.takeCensus();
    await victim.kill();
    const client = trial.clientOf([api]);
    const load = keepBusy(6, (waitSeconds) =>
      client.submitSurely(nonceJob('sleep 0.2'), { waitSeconds }),
    );
    const crashes = await crashAt(victim, at, { times: TIMES, redis });
    await load.stop();
    const judged = await trial.judge([client]);
    await trial.expectNothingLeaked(before, { stock: STOCK });
    const { recoveriesMs, sandboxEndsMs } = showRecovery(`W1 ${at}`, {
      ...judged,
      crashes,
      engine,
    });
    expect(Math.max(0, ...recoveriesMs)).toBeLessThan(RECOVERED_WITHIN_MS);
    expect(Math.max(0, ...sandboxEndsMs)).toBeLessThan(SANDBOX_ENDS_WITHIN_MS);
  },
  POINT_MS,
);

test.each(API_MILESTONES.map((at) => [at] as const))(
  'A1: an API killed again and again at %s: a client that repeats has each job exactly once',
  async (at) => {
    trial = await startTrial();
    const { world, redis } = trial;
    const steady = await world.startApi();
    const victim = await world.startApi();
    await world.startWorker();
    const before = await trial.takeCensus();
    await victim.kill();
    const client = trial.clientOf([victim, steady]);
    const batch = () => Array.from({ length: 5 }, () => nonceJob());
    const loads = [
      keepBusy(4, (waitSeconds) => client.submitSurely(nonceJob(), { waitSeconds })),
      keepBusy(1, async () => {
        const id = await client.submitBatchSurely(batch(), { isolation: 'group' });
        await client.waitForBatch(id, BATCH_WAITED_FOR_S);
      }),
    ];
    await crashAt(victim, at, { times: TIMES, redis });
    for (const load of loads) await load.stop();
    await victim.start(UNARMED);
    const { counts, outcomes } = (await trial.judge([client])).verdict;
    await trial.expectNothingLeaked(before, { stock: STOCK });
    expect(outcomes).toEqual({ exited: counts.accepted });
    show(
      `A1 ${at}`,
      `${TIMES} kills, ${counts.accepted} jobs, ${counts.unknown} calls without an answer`,
    );
  },
  POINT_MS,
);
