/** Two hosts with one queue; what takes longer is in slow/two-hosts.test.ts. */
import { afterEach, expect, test } from 'vitest';
import { resultOf } from './kit/engine-trial.ts';
import { show } from './kit/figures.ts';
import {
  atMostStock,
  ELSEWHERE_WITHIN_MS,
  jobsOnBoth,
  startTwoHosts,
  type TwoHosts,
} from './kit/two-hosts.ts';

const RUN_MS = 4_000;

let hosts: TwoHosts;
afterEach(() => hosts.stop());

test('Two hosts share the jobs; one loses its power: its jobs end on the other, and none is doubled', async () => {
  hosts = await startTwoHosts();
  const { trial, client, one, other } = hosts;
  const jobs = await jobsOnBoth(hosts, `sleep ${RUN_MS / 1000}`);
  const lost = jobs.filter(({ worker }) => worker === one.worker.id);
  expect(lost.length).toBeGreaterThan(0);
  expect(lost.length).toBeLessThan(jobs.length);
  trial.history.fault('one host without power');
  const atMs = Date.now();
  await Promise.all([one.worker.kill(), one.dockerd.host.cutPower()]);
  for (const { id } of lost) {
    expect(await resultOf(client, id)).toMatchObject({
      outcome: { kind: 'exited' },
      worker: other.worker.id,
      attempt: 2,
    });
  }
  const elsewhereMs = Date.now() - atMs - RUN_MS;
  const { verdict } = await trial.judge([client]);
  expect(verdict.outcomes).toEqual({ exited: jobs.length });
  await atMostStock(other);
  show(
    'two hosts',
    `without power: its jobs began elsewhere within ${elsewhereMs} ms, promised ${ELSEWHERE_WITHIN_MS} ms`,
  );
  expect(elsewhereMs).toBeLessThan(ELSEWHERE_WITHIN_MS);
});
