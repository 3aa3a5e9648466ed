/** Rows of the fault matrix: jobs that do harm by what they are, or by how many they are; J3, J5 and J7 are in slow/. */
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { residentMb } from '../../bench/memory.ts';
import { percentile } from '../../bench/times.ts';
import type { JobResult } from '../../shared/contract/result.ts';
import { keys } from '../../shared/queue/keys.ts';
import { until } from '../e2e/watching.ts';
import { nonceJob } from './kit/client.ts';
import { show } from './kit/figures.ts';
import { keepBusy } from './kit/load.ts';
import { STOCK, startTrial, type Trial } from './kit/trial.ts';

let trial: Trial;
afterEach(() => trial.stop());

const jobOf = (finals: readonly { id: string; text: string }[], id: string): JobResult =>
  JSON.parse(finals.find((one) => one.id === id)?.text ?? 'null');

test('J1: a job under which every worker dies is started twice, then lost; others flow', async () => {
  trial = await startTrial();
  const { world, redis } = trial;
  const api = await world.startApi();
  const workers = [await world.startWorker(), await world.startWorker()];
  const before = await trial.takeCensus();
  const client = trial.clientOf([api]);
  const load = keepBusy(2, (waitSeconds) =>
    client.submitSurely(nonceJob('sleep 0.2'), { waitSeconds }),
  );
  const poison = nonceJob('sleep 30', { timeoutMs: 60_000 });
  const id = await client.submitSurely(poison);
  for (const start of [1, 2]) {
    await until(
      `it is started ${start} times`,
      60_000,
      () => trial.programs.starts().get(poison.nonce) === start,
    );
    const on = await redis.hget(keys.job(id), 'worker');
    const worker = workers.find((one) => one.id === on);
    trial.history.fault(`the poison job's worker ${on} dies`);
    await worker?.kill();
    await worker?.start();
  }
  await until('it is given up', 60_000, async () => (await client.get(id, 5))?.state === 'done');
  await load.stop();
  const { finals, verdict } = await trial.judge([client]);
  expect(jobOf(finals, id)).toMatchObject({
    outcome: { kind: 'lost', cause: 'worker_lost' },
    fault: 'platform',
    attempt: 2,
  });
  expect(trial.programs.starts().get(poison.nonce)).toBe(2);
  // Those that ran beside it, both times, may be lost with it; all others end.
  expect(verdict.outcomes.lost).toBeLessThanOrEqual(3);
  expect(verdict.outcomes.exited).toBeGreaterThan(20);
  await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
});

test.each([
  ['that is no JSON', '{'],
  ['of a version that nobody knows', '{"version":99}'],
  ['that is gone', ''],
])('J2: a spec %s ends its job as lost, without a start; others flow', async (_what, spec) => {
  trial = await startTrial();
  const { world, redis } = trial;
  const api = await world.startApi();
  const client = trial.clientOf([api]);
  const broken = await client.submitSurely(nonceJob());
  const others = await Promise.all([1, 2, 3].map(() => client.submitSurely(nonceJob())));
  if (spec === '') await redis.hdel(keys.job(broken), 'spec');
  else await redis.hset(keys.job(broken), 'spec', spec);
  const before = await trial.takeCensus();
  await world.startWorker();
  const { finals } = await trial.judge([client]);
  expect(jobOf(finals, broken)).toMatchObject({
    outcome: { kind: 'lost', cause: 'spec_unreadable' },
    ran: 'no',
    retryable: false,
  });
  for (const id of others)
    expect(jobOf(finals, id).outcome).toEqual({ kind: 'exited', exitCode: 0 });
  await trial.expectNothingLeaked(before, { stock: STOCK });
});

test('J4: a reader of results that stops reading holds up nobody and costs no memory', async () => {
  trial = await startTrial();
  const { world } = trial;
  const api = await world.startApi();
  await world.startWorker();
  const client = trial.clientOf([api]);
  const jobs = Array.from({ length: 120 }, () => nonceJob('head -c 400000 /dev/zero | tr "\\0" x'));
  const batch = await client.submitBatchSurely(jobs, { isolation: 'group' });
  await until('the batch is over', 120_000, async () => {
    const view = await (await api.caller.send(`/v1/batches/${batch}?wait=10`)).json();
    return (view as { state: string }).state === 'done';
  });
  const before = await trial.takeCensus();
  const memoryBefore = residentMb(api.pid);
  const { hostname, port } = new URL(api.url);
  const sockets = Array.from({ length: 8 }, () => {
    const socket = net.connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.write(
      `GET /v1/batches/${batch}/results HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.key}\r\n\r\n`,
    );
    return socket.pause();
  });
  const timesMs: number[] = [];
  for (const end = Date.now() + 8_000; Date.now() < end; ) {
    const startedAt = performance.now();
    await client.submitSurely(nonceJob(), { waitSeconds: 4 });
    timesMs.push(performance.now() - startedAt);
  }
  const memoryMore = residentMb(api.pid) - memoryBefore;
  const text = await (await api.caller.send(`/v1/batches/${batch}/results`)).text();
  for (const socket of sockets) socket.destroy();
  expect(text.trimEnd().split('\n')).toHaveLength(jobs.length);
  // Eight readers of 48 MB each: all of it in memory would be 384 MB.
  expect(memoryMore).toBeLessThan(128);
  await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: STOCK });
  show(
    'J4',
    `${Math.round(memoryMore)} MiB more with 8 stalled readers of 48 MB; others' jobs p50 ${Math.round(percentile(timesMs, 50))} ms, p99 ${Math.round(percentile(timesMs, 99))} ms`,
  );
});

test('J6: 1,000 cancels meet jobs in every state: each job ends once, as cancelled or as it was', async () => {
  trial = await startTrial();
  const { world } = trial;
  const api = await world.startApi();
  await world.startWorker();
  const client = trial.clientOf([api]);
  const before = await trial.takeCensus();
  const batches = await Promise.all(
    [1, 2, 3, 4, 5].map(() =>
      client.submitBatchSurely(
        Array.from({ length: 200 }, () => nonceJob('sleep 0.05')),
        { isolation: 'group' },
      ),
    ),
  );
  const ids: string[] = [];
  for (const batch of batches) {
    const page = await (await api.caller.send(`/v1/jobs?batch=${batch}&limit=200`)).json();
    ids.push(...(page as { jobs: { id: string }[] }).jobs.map(({ id }) => id));
  }
  expect(ids).toHaveLength(1_000);
  // In an order of their own, some before their job starts, some while it runs, some after, some twice.
  const order = ids
    .map((id) => ({ id, at: Math.random() }))
    .sort((one, other) => one.at - other.at);
  const rest = order[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const { id } of rest) {
        await client.cancel(id);
        if (Math.random() < 0.1) await client.cancel(id);
        await sleep(Math.random() * 100);
      }
    }),
  );
  const { verdict } = await trial.judge([client]);
  expect(Object.keys(verdict.outcomes).sort()).toEqual(['cancelled', 'exited']);
  expect(verdict.counts).toMatchObject({ accepted: 1_000, terminal: 1_000, secondStarts: 0 });
  await trial.expectNothingLeaked(before, { stock: STOCK });
  show('J6', JSON.stringify(verdict.outcomes));
});
