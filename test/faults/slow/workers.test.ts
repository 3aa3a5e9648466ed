/** Rows of workers that take a minute and more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { until } from '../../e2e/watching.ts';
import { armed, FROM_FIRST_JOB } from '../kit/armed.ts';
import { nonceJob } from '../kit/client.ts';
import { show } from '../kit/figures.ts';
import { keepBusy } from '../kit/load.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';

const STOPPED_MS = 60_000;

let trial: Trial;
afterEach(() => trial.stop());

test('W3: a worker is stopped for a minute under load, again and again: what it says of old jobs counts for nothing', async () => {
  trial = await startTrial();
  const { world } = trial;
  const api = await world.startApi();
  const stopped = await world.startWorker();
  await world.startWorker();
  const before = await trial.takeCensus();
  const client = trial.clientOf([api]);
  const load = keepBusy(6, (waitSeconds) =>
    client.submitSurely(nonceJob('sleep 0.5'), { waitSeconds }),
  );
  for (let round = 0; round < 2; round++) {
    await sleep(2_000);
    trial.history.fault('worker stopped');
    stopped.signal('SIGSTOP');
    await sleep(STOPPED_MS);
    stopped.signal('SIGCONT');
  }
  await load.stop();
  const { verdict } = await trial.judge([client]);
  expect(Object.keys(verdict.outcomes)).toEqual(['exited']);
  expect(stopped.isUp).toBe(true);
  await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
  show(
    'W3',
    `stopped twice for a minute: ${verdict.counts.accepted} jobs, ${verdict.counts.secondStarts} second starts`,
  );
});

test('W4: the result of a worker that stood still is refused while its job runs elsewhere', async () => {
  trial = await startTrial();
  const { world } = trial;
  const api = await world.startApi();
  // Its job ends after 25 s; another starts it 15 to 20 s later, and still runs it when this one wakes.
  const blocked = await world.startWorker(
    armed({ ...FROM_FIRST_JOB, at: 'last_frame', nth: 1, act: 'block', forMs: 32_000 }),
  );
  const client = trial.clientOf([api]);
  const job = nonceJob('sleep 25', { timeoutMs: 60_000 });
  const id = await client.submitSurely(job);
  await until('its program runs', 30_000, () => trial.programs.starts().has(job.nonce));
  const other = await world.startWorker();
  const before = await trial.takeCensus();
  const refused = new RegExp(`"job":"${id}".*"settled":"fenced"`);
  await until('its late result is refused', 120_000, () => refused.test(blocked.log()));
  expect((await client.get(id))?.state).toBe('running');
  const { finals } = await trial.judge([client]);
  expect(JSON.parse(finals[0]?.text ?? 'null')).toMatchObject({
    outcome: { kind: 'exited' },
    attempt: 2,
    worker: other.id,
  });
  await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
});
