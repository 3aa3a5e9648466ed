/** A worker that lives, has room, and is given no job: here since somebody paused the queue behind its back. */
import { Queue } from 'bullmq';
import { afterEach, expect, test } from 'vitest';
import { limited } from '../../../shared/limited.ts';
import { QUEUE_PREFIX } from '../../../shared/queue/options.ts';
import { until } from '../../e2e/watching.ts';
import { nonceJob } from '../kit/client.ts';
import { startTrial, type Trial } from '../kit/trial.ts';

const ENDS_WITHIN_MS = 120_000;

let trial: Trial;
afterEach(() => trial.stop());

const problemsOf = async (url: string): Promise<string[]> =>
  ((await (await fetch(`${url}/readyz`)).json()) as { problems: string[] }).problems;

test('a worker that is given nothing though jobs wait is named by /readyz, renews its consumer, then ends; the next one does the jobs', async () => {
  trial = await startTrial();
  const { world, redis } = trial;
  const api = await world.startApi();
  const worker = await world.startWorker();
  const client = trial.clientOf([api]);
  const queue = new Queue('interactive', { connection: redis, prefix: QUEUE_PREFIX });
  await queue.pause();
  await client.submitSurely(nonceJob());
  await until('/readyz names it', 60_000, async () =>
    (await problemsOf(api.url)).join().includes(worker.id),
  );
  const { code } = await limited(worker.exited, ENDS_WITHIN_MS);
  expect(code).toBe(1);
  expect(worker.log()).toContain('the consumer is renewed');
  expect(worker.log()).toContain('a new consumer was given none either');
  await queue.resume();
  await queue.close();
  await worker.start();
  const { verdict } = await trial.judge([client], { maxStarts: 1 });
  expect(verdict.outcomes).toEqual({ exited: 1 });
});
