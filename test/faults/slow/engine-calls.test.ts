/**
 * Rows of the fault matrix: an engine whose calls fail, hang or are answered by half. It is the machine's own, through a
 * proxy that only the worker under test uses.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { until } from '../../e2e/watching.ts';
import { nonceJob } from '../kit/client.ts';
import { type EngineProxy, startEngineProxy } from '../kit/engine-proxy.ts';
import { readiness, resultOf, SLOTS_BACK_MS, untilSlotsWork } from '../kit/engine-trial.ts';
import { show } from '../kit/figures.ts';
import { keepBusy } from '../kit/load.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';

const CALLS = {
  create: /^POST \S*\/containers\/create/,
  attach: /^POST \S*\/attach/,
  start: /^POST \S*\/start/,
  remove: /^DELETE /,
} as const;
const ANY = /./;
const SAID_WITHIN_MS = 60_000;

let trial: Trial;
let proxy: EngineProxy;
afterEach(() => trial.stop());

async function aSystem() {
  trial = await startTrial();
  proxy = await startEngineProxy();
  trial.world.own(proxy.stop);
  const api = await trial.world.startApi();
  const worker = await trial.world.startWorker({ env: { COFFERDAM_ENGINE: proxy.address } });
  return { api, worker, client: trial.clientOf([api]), before: await trial.takeCensus() };
}

test('D6: every call fails for a while, then is cut short for a while: no job is lost and none succeeds unrun', async () => {
  const { client, before } = await aSystem();
  const load = keepBusy(3, (waitSeconds) =>
    client.submitSurely(nonceJob('sleep 0.1'), { waitSeconds }),
  );
  for (const how of ['fails', 'is cut short'] as const) {
    for (const [name, calls] of Object.entries(CALLS)) {
      trial.history.fault(`${name} ${how}`);
      const earlier = proxy.count(calls);
      proxy.trouble(calls, how);
      await until(`${name} was tried`, 30_000, () => proxy.count(calls) > earlier + 1);
      await sleep(500);
      proxy.mend();
      await untilSlotsWork(client);
    }
  }
  await load.stop();
  const { verdict } = await trial.judge([client]);
  expect(Object.keys(verdict.outcomes)).toEqual(['exited']);
  await trial.expectNothingLeaked(before, { stock: STOCK });
  show('D6', `${verdict.counts.terminal} jobs over eight kinds of failing calls, all exited`);
});

test('D6: removals hang: jobs go on in other sandboxes, the API says what is not removed, and later it is', async () => {
  const { api, client, before } = await aSystem();
  proxy.trouble(CALLS.remove, 'hangs');
  const ids = await Promise.all(
    Array.from({ length: 12 }, () => client.submitSurely(nonceJob('sleep 0.1'))),
  );
  for (const id of ids) {
    expect(await resultOf(client, id)).toMatchObject({ outcome: { kind: 'exited' }, attempt: 1 });
  }
  const said = await until('the API says so', SAID_WITHIN_MS, async () =>
    (await readiness(api.url)).problems.find((problem) => /cannot remove/.test(problem)),
  );
  proxy.mend();
  await until('all are gone', SAID_WITHIN_MS, async () =>
    (await readiness(api.url)).problems.every((problem) => !/cannot remove/.test(problem)),
  );
  await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: STOCK });
  show(
    'D6',
    `removals hang: "${said.replace(/worker \S+/, 'worker')}", and twelve jobs ended meanwhile`,
  );
});

test('D6: every call hangs: the worker asks no more than now and then, says so, and works again by itself', async () => {
  const { api, client, before } = await aSystem();
  await untilSlotsWork(client);
  const id = await client.submitSurely(nonceJob('sleep 30', { timeoutMs: 60_000 }));
  proxy.trouble(ANY, 'hangs');
  await until('the API says so', SAID_WITHIN_MS, async () =>
    (await readiness(api.url)).problems.some((problem) => /the engine of worker/.test(problem)),
  );
  const asked = proxy.count(ANY);
  await sleep(10_000);
  const askedMeanwhile = proxy.count(ANY) - asked;
  proxy.mend();
  const tookMs = await untilSlotsWork(client);
  // Its stream was not touched.
  expect(await resultOf(client, id)).toMatchObject({ outcome: { kind: 'exited' }, attempt: 1 });
  await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: STOCK });
  show('D6', `all calls hang: ${askedMeanwhile} calls in 10 s, slots back ${tookMs} ms after`);
  expect(askedMeanwhile).toBeLessThan(10);
  expect(tookMs).toBeLessThan(SLOTS_BACK_MS);
});
