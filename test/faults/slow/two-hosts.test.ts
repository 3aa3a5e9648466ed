/** Two hosts with one queue, one of which cannot reach it for a while. */
import { afterEach, expect, test } from 'vitest';
import { until } from '../../e2e/watching.ts';
import { nonceJob } from '../kit/client.ts';
import { resultOf } from '../kit/engine-trial.ts';
import { show } from '../kit/figures.ts';
import {
  atMostStock,
  ELSEWHERE_WITHIN_MS,
  jobsOnBoth,
  startTwoHosts,
  type TwoHosts,
} from '../kit/two-hosts.ts';

/** Longer than a worker that hears nothing of Redis may believe that a job is its own. */
const RUN_MS = 25_000;
const KILLED_WITHIN_MS = 22_000;

let hosts: TwoHosts;
afterEach(() => hosts.stop());

test('Two hosts share the jobs; one is cut off: it kills what it ran, its jobs end on the other, and it comes back', async () => {
  hosts = await startTwoHosts();
  const { trial, client, one, other } = hosts;
  const jobs = await jobsOnBoth(hosts, `sleep ${RUN_MS / 1000}`);
  const lost = jobs.filter(({ worker }) => worker === one.worker.id);
  expect(lost.length).toBeGreaterThan(0);
  expect(lost.length).toBeLessThan(jobs.length);

  trial.history.fault('one host cut off');
  const cutAtMs = Date.now();
  await one.network.cut();
  const areStillThere = (): boolean =>
    lost.some(({ nonce }) => one.dockerd.pidsOf(nonce).length > 0);
  expect(areStillThere()).toBe(true);
  await until('what it ran is gone', KILLED_WITHIN_MS, () => !areStillThere());
  const killedMs = Date.now() - cutAtMs;
  for (const { id } of lost) {
    expect(await resultOf(client, id)).toMatchObject({
      outcome: { kind: 'exited' },
      worker: other.worker.id,
      attempt: 2,
    });
  }
  const elsewhereMs = Date.now() - cutAtMs - RUN_MS;

  await one.network.mend();
  await until('it takes jobs again', 60_000, async () => {
    const id = await client.submitSurely(nonceJob('sleep 0.5'), { waitSeconds: 4 });
    return (await resultOf(client, id)).worker === one.worker.id;
  });
  const { verdict } = await trial.judge([client]);
  expect(Object.keys(verdict.outcomes)).toEqual(['exited']);
  await atMostStock(one, other);
  show(
    'two hosts',
    `cut off: its jobs began elsewhere within ${elsewhereMs} ms, promised ${ELSEWHERE_WITHIN_MS} ms`,
  );
  show('two hosts', `cut off: what it ran was killed ${killedMs} ms after the cut`);
  expect(elsewhereMs).toBeLessThan(ELSEWHERE_WITHIN_MS);
});
