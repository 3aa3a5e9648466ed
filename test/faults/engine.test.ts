/** Rows of the fault matrix: an engine that is restarted, stopped and robbed, and sandboxes that go away. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { until } from '../e2e/watching.ts';
import { nonceJob } from './kit/client.ts';
import { startEngineProxy } from './kit/engine-proxy.ts';
import {
  readiness,
  resultOf,
  SLOTS_BACK_MS,
  startEngineTrial,
  untilSlotsWork,
} from './kit/engine-trial.ts';
import { show } from './kit/figures.ts';
import { keepBusy } from './kit/load.ts';
import { type PrivateDockerd, startPrivateDockerd } from './kit/private-dockerd.ts';
import { STOCK, type Trial } from './kit/trial.ts';

const DEGRADED_WITHIN_MS = 40_000;

let dockerd: PrivateDockerd;
let trial: Trial;
beforeAll(async () => {
  dockerd = await startPrivateDockerd();
});
afterAll(() => dockerd.close());
afterEach(async () => {
  dockerd.resume(); // a row that failed may have left it stopped
  await trial.stop();
});

/** One API and one worker. */
async function aSystem() {
  const api = await trial.world.startApi();
  const worker = await trial.world.startWorker();
  return { api, worker, client: trial.clientOf([api]), before: await trial.takeCensus() };
}
const runs = ({ nonce }: { nonce: string }): Promise<boolean> =>
  until('its program runs', 60_000, () => trial.programs.starts().has(nonce));

/** All of them; the worker may be removing some itself. */
const removeByHand = async (): Promise<void> => {
  await dockerd.docker('rm', '-f', ...(await dockerd.sandboxes())).catch(() => {});
};

/** The id of the sandbox in which a job runs, by the control group of its program. */
function sandboxOf({ nonce }: { nonce: string }): string {
  const [pid] = dockerd.pidsOf(nonce);
  const [id] = readFileSync(`/proc/${pid}/cgroup`, 'utf8').match(/[0-9a-f]{64}/) ?? [];
  if (id === undefined) throw new Error(`no sandbox with ${nonce} in it`);
  return id;
}

test.each(['SIGTERM', 'SIGKILL'] as const)(
  'D1: the engine is ended by %s with jobs running, and started again: each job ends once, and the slots are back',
  async (signal) => {
    trial = await startEngineTrial(dockerd);
    const { client, before } = await aSystem();
    const load = keepBusy(4, (waitSeconds) =>
      client.submitSurely(nonceJob('sleep 0.5'), { waitSeconds }),
    );
    await until('jobs run', 60_000, () => trial.programs.starts().size > 4);
    trial.history.fault(`engine ${signal}`);
    await dockerd.kill(signal);
    await sleep(1_000);
    await dockerd.start();
    const tookMs = await untilSlotsWork(client);
    await load.stop();
    const { verdict } = await trial.judge([client]);
    expect(Object.keys(verdict.outcomes)).toEqual(['exited']);
    await trial.expectNothingLeaked(before, { stock: STOCK });
    const { terminal, secondStarts } = verdict.counts;
    show('D1', `${signal}: slots back ${tookMs} ms after the engine, promised ${SLOTS_BACK_MS} ms`);
    show('D1', `${signal}: ${terminal} jobs ended once, ${secondStarts} of them started twice`);
    expect(tookMs).toBeLessThan(SLOTS_BACK_MS);
  },
);

test('D2: the engine stands still for 30 s: the worker leaves it alone and says so, and every job ends once it goes on', async () => {
  trial = await startEngineTrial(dockerd);
  const { api, client, before } = await aSystem();
  const load = keepBusy(2, (waitSeconds) =>
    client.submitSurely(nonceJob('sleep 0.5', { timeoutMs: 3_000 }), { waitSeconds }),
  );
  await until('jobs run', 60_000, () => trial.programs.starts().size > 4);
  const stoppedAtMs = Date.now();
  dockerd.pause();
  await until('the API says so', DEGRADED_WITHIN_MS, async () =>
    (await readiness(api.url)).problems.some((problem) => /the engine of worker/.test(problem)),
  );
  const saidAfterMs = Date.now() - stoppedAtMs;
  await sleep(Math.max(0, 30_000 - saidAfterMs));
  dockerd.resume();
  const tookMs = await untilSlotsWork(client);
  await load.stop();
  const { verdict } = await trial.judge([client]);
  expect(Object.keys(verdict.outcomes)).toEqual(['exited']);
  await until('the API is content', DEGRADED_WITHIN_MS, async () =>
    (await readiness(api.url)).problems.every((problem) => !/engine/.test(problem)),
  );
  // Connections that clients have kept alive are closed by then.
  await trial.expectNothingLeaked(before, { stock: STOCK, withinMs: 90_000 });
  show('D2', `degraded ${saidAfterMs} ms after the stop, slots back ${tookMs} ms after its end`);
  expect(tookMs).toBeLessThan(SLOTS_BACK_MS);
});

test('D3: shims are killed, then containerd: jobs in their sandboxes start again, and later ones run as ever', async () => {
  trial = await startEngineTrial(dockerd);
  const { client, before } = await aSystem();
  const job = nonceJob('sleep 3');
  const id = await client.submitSurely(job);
  await runs(job);
  const listed = () => dockerd.docker('ps', '-aq', '--no-trunc');
  const beforeKill = await listed();
  for (const pid of dockerd.pidsOf('containerd-shim')) process.kill(pid, 'SIGKILL');
  const atKill = `${beforeKill}\n${await listed()}`.split('\n');
  expect(await resultOf(client, id)).toMatchObject({ outcome: { kind: 'exited' }, attempt: 2 });

  const next = nonceJob('sleep 3');
  const nextId = await client.submitSurely(next);
  await runs(next);
  const [containerd] = dockerd.pidsOf('containerd.toml');
  process.kill(containerd as number, 'SIGKILL');
  expect(await resultOf(client, nextId)).toMatchObject({ outcome: { kind: 'exited' } });
  const tookMs = await untilSlotsWork(client);
  await trial.judge([client]);
  // A shim that is killed may leave its container's control group, empty: the engine forgets it, and nobody else knows it.
  const isEngines = (orphan: string): boolean =>
    orphan.startsWith('cgroup of no process ') && atKill.some((id) => orphan.endsWith(id));
  await trial.expectNothingLeaked(before, { stock: STOCK, isEngines });
  show('D3', `slots work ${tookMs} ms after containerd was killed under a job`);
});

test('D4: sandboxes are removed and paused by hand: their jobs start again or are lost, none has succeeded', async () => {
  trial = await startEngineTrial(dockerd);
  const { client, before } = await aSystem();
  const again = nonceJob('sleep 3');
  const once = nonceJob('sleep 3', { onLost: 'fail' });
  const ids = [await client.submitSurely(again), await client.submitSurely(once)] as const;
  await Promise.all([runs(again), runs(once)]);
  await removeByHand();
  expect(await resultOf(client, ids[0])).toMatchObject({ outcome: { kind: 'exited' }, attempt: 2 });
  expect(await resultOf(client, ids[1])).toMatchObject({
    outcome: { kind: 'lost', cause: 'sandbox_lost' },
    fault: 'platform',
    attempt: 1,
  });

  const paused = nonceJob('sleep 1', { timeoutMs: 2_000, onLost: 'fail' });
  const pausedId = await client.submitSurely(paused);
  await runs(paused);
  await dockerd.docker('pause', sandboxOf(paused));
  expect(await resultOf(client, pausedId)).toMatchObject({
    outcome: { kind: 'lost', cause: 'sandbox_unresponsive' },
    fault: 'platform',
  });
  await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: STOCK });
});

test('D5: a sandbox that has ended before the worker is attached to it runs no job, and none is lost with it', async () => {
  trial = await startEngineTrial(dockerd);
  const proxy = await startEngineProxy(dockerd.socketPath);
  trial.world.own(proxy.stop);
  let ended = 0;
  proxy.before(/^POST .*\/attach/, async (call) => {
    const [, id = ''] = call.match(/containers\/(\w+)\/attach/) ?? [];
    if (ended++ >= 3) return;
    await dockerd.docker('start', id);
    await dockerd.docker('kill', id);
    // So that it cannot be started once more.
    await dockerd.docker('rm', '-f', id);
  });
  const api = await trial.world.startApi();
  await trial.world.startWorker({ env: { COFFERDAM_ENGINE: proxy.address } });
  const before = await trial.takeCensus();
  const client = trial.clientOf([api]);
  const ids = await Promise.all(
    Array.from({ length: 4 }, () => client.submitSurely(nonceJob('sleep 0.1'))),
  );
  for (const id of ids) {
    expect(await resultOf(client, id)).toMatchObject({ outcome: { kind: 'exited' }, attempt: 1 });
  }
  expect(ended).toBeGreaterThan(3);
  await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: STOCK });
});

test('D7: an image that is removed while jobs wait is prepared again, and one that comes later can be used', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-catalogue-'));
  const catalogue = path.join(folder, 'images.json');
  const late = 'cofferdam-test/late:1';
  writeFileSync(
    catalogue,
    JSON.stringify([
      { name: 'base', reference: 'cofferdam-image/base:latest' },
      { name: 'late', reference: late },
    ]),
  );
  trial = await startEngineTrial(dockerd, { env: { COFFERDAM_IMAGES: catalogue } });
  trial.world.own(() => rmSync(folder, { recursive: true, force: true }));
  const { client, before } = await aSystem();
  const ids = await Promise.all(
    Array.from({ length: 8 }, () => client.submitSurely(nonceJob('sleep 0.5'))),
  );
  const tags = ['images', '--format', '{{.Repository}}:{{.Tag}}', 'cofferdam/base'];
  await dockerd.docker('rmi', '-f', ...(await dockerd.docker(...tags)).split('\n'));
  await removeByHand();
  for (const id of ids) {
    expect(await resultOf(client, id)).toMatchObject({ outcome: { kind: 'exited' } });
  }
  expect(await dockerd.docker('images', '-q', 'cofferdam/base')).not.toBe('');

  const waiting = await client.submitSurely(nonceJob('true', { image: 'late' }));
  await sleep(2_000);
  await dockerd.docker('tag', 'cofferdam-image/base:latest', late);
  expect(await resultOf(client, waiting)).toMatchObject({ outcome: { kind: 'exited' } });
  await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
});
