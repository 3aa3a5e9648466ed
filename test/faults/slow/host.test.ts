/** Rows of the fault matrix: a host whose disk, processes or memory are used up, and a worker whose clock jumps. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { until } from '../../e2e/watching.ts';
import { nonceJob } from '../kit/client.ts';
import { readiness, resultOf, startEngineTrial, untilSlotsWork } from '../kit/engine-trial.ts';
import { show } from '../kit/figures.ts';
import { type PrivateDockerd, startPrivateDockerd } from '../kit/private-dockerd.ts';
import { openPrivateHost, type PrivateHost } from '../kit/private-host.ts';
import { makeSteppedClock } from '../kit/stepped-clock.ts';
import { STOCK, startTrial, type Trial } from '../kit/trial.ts';

const SAID_WITHIN_MS = 60_000;

/** A sweep of orphans and a heartbeat come within it. */
const SWEPT_MS = 12_000;

let trial: Trial | undefined;
let dockerd: PrivateDockerd | undefined;
afterEach(async () => {
  await trial?.stop();
  await dockerd?.close();
  trial = undefined;
  dockerd = undefined;
});

async function aSystem(host?: PrivateHost, dataRoot?: string) {
  dockerd = await startPrivateDockerd({
    ...(host === undefined ? {} : { host }),
    ...(dataRoot === undefined ? {} : { dataRoot }),
  });
  trial = await startEngineTrial(dockerd);
  const api = await trial.world.startApi();
  await trial.world.startWorker();
  const client = trial.clientOf([api]);
  await untilSlotsWork(client);
  return { trial, dockerd, api, client, before: await trial.takeCensus() };
}

const saysItFails = (url: string): Promise<boolean> =>
  until('the API says so', SAID_WITHIN_MS, async () =>
    (await readiness(url)).problems.some((problem) => /the engine of worker/.test(problem)),
  );

test('H1: the disk of the engine is full: jobs wait, the API says why, and they end once there is room', async () => {
  const host = await openPrivateHost();
  const data = path.join(host.folder, 'small-disk');
  await host.run(`mkdir ${data} && mount -t tmpfs -o size=1200m tmpfs ${data}`);
  const { trial, client, api, before } = await aSystem(host, data);
  await host.run(
    `dd if=/dev/zero of=${data}/filler bs=1M 2>/dev/null; cp /dev/zero ${data}/rest 2>/dev/null`,
  );
  const ids = await Promise.all(
    Array.from({ length: 6 }, () => client.submitSurely(nonceJob('sleep 0.1'))),
  );
  await saysItFails(api.url);
  await host.run(`rm ${data}/filler ${data}/rest`);
  const beganAtMs = Date.now();
  for (const id of ids) {
    expect(await resultOf(client, id)).toMatchObject({ outcome: { kind: 'exited' } });
  }
  show(
    'H1',
    `six jobs that waited for room ended ${Date.now() - beganAtMs} ms after there was some`,
  );
  await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: STOCK });
});

test('H2: the host has no more processes, then no more memory, for sandboxes: no job succeeds unrun, later ones run', async () => {
  const { trial, dockerd, client, api, before } = await aSystem();
  const { host } = dockerd;
  host.limit('pids.max', '2', 'cofferdam');
  const ids = await Promise.all(
    Array.from({ length: 4 }, () => client.submitSurely(nonceJob('sleep 0.1'))),
  );
  await saysItFails(api.url);
  host.limit('pids.max', 'max', 'cofferdam');
  for (const id of ids) {
    // In a ready sandbox it may have run into the host's limit, and was told so.
    const { outcome } = await resultOf(client, id);
    expect(['exited', 'could_not_start']).toContain(outcome?.kind);
  }
  await untilSlotsWork(client);

  const mib = 1024 * 1024;
  host.limit('memory.limit_in_bytes', String(40 * mib), 'cofferdam');
  host.limit('memory.max', String(40 * mib), 'cofferdam');
  const hungry = nonceJob('head -c 60000000 /dev/zero > /work/x', {
    limits: { memoryMb: 128, workspaceMb: 64 },
  });
  const hungryId = await client.submitSurely(hungry);
  await sleep(4_000);
  host.limit('memory.limit_in_bytes', '-1', 'cofferdam');
  host.limit('memory.max', 'max', 'cofferdam');
  const { outcome } = await resultOf(client, hungryId);
  await untilSlotsWork(client);
  show('H2', `a job of 60 MB on a host with 40 MB for sandboxes: ${JSON.stringify(outcome)}`);
  await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: STOCK });
});

test('C1: a worker’s clock jumps an hour ahead, then two hours back: no job is ended, expired or doubled by it, on either worker', async () => {
  const clock = makeSteppedClock();
  trial = await startTrial();
  trial.world.own(clock.remove);
  const api = await trial.world.startApi();
  const workers = [
    await trial.world.startWorker(),
    await trial.world.startWorker({ env: clock.env }),
  ];
  const client = trial.clientOf([api]);
  const before = await trial.takeCensus();
  for (const aheadSeconds of [3_600, -3_600]) {
    const jobs = Array.from({ length: 4 }, () => nonceJob('sleep 3', { expiresInMs: 300_000 }));
    const ids = await Promise.all(jobs.map((job) => client.submitSurely(job)));
    const { programs } = trial;
    await until('all run', 60_000, () => jobs.every(({ nonce }) => programs.starts().has(nonce)));
    trial.history.fault(`clock ${aheadSeconds} s ahead`);
    clock.step(aheadSeconds);
    const results = await Promise.all(ids.map((id) => resultOf(client, id)));
    for (const { outcome, attempt, timing } of results) {
      expect({ outcome, attempt }).toMatchObject({ outcome: { kind: 'exited' }, attempt: 1 });
      expect(timing?.runMs).toBeGreaterThanOrEqual(2_900);
      expect(timing?.runMs).toBeLessThan(30_000);
    }
    expect(new Set(results.map(({ worker }) => worker)).size).toBe(2);
    const removed = trial.engine.count('destroy');
    await sleep(SWEPT_MS);
    // Neither swept the other's sandboxes: what went in the meantime is what their jobs had used.
    expect(trial.engine.count('destroy') - removed).toBeLessThanOrEqual(jobs.length);
    await untilSlotsWork(client, 4);
    expect(await readiness(api.url)).toMatchObject({ status: 'ready', workers: workers.length });
  }
  await trial.judge([client], { maxStarts: 1 });
  await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
});
