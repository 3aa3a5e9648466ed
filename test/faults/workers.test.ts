/** Rows of the fault matrix: workers that are killed, stopped, blocked, replaced and told to stop. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { Milestone } from '../../shared/milestones.ts';
import { until } from '../e2e/watching.ts';
import { armed, FROM_FIRST_JOB } from './kit/armed.ts';
import { nonceJob } from './kit/client.ts';
import { type Crash, crashAt, showRecovery } from './kit/crashes.ts';
import { show } from './kit/figures.ts';
import { keepBusy } from './kit/load.ts';
import { STOCK, startTrial, type Trial } from './kit/trial.ts';

let trial: Trial;
afterEach(() => trial.stop());

/** One of each kind; slow/crash-points.test.ts has all, fifty times. */
const POINTS: readonly Milestone[] = ['marked', 'created', 'mid_stream', 'settle_sent'];

test('W1: a worker is killed in the middle of a job’s way: each job ends once, elsewhere if need be', async () => {
  trial = await startTrial();
  const { world, redis } = trial;
  const api = await world.startApi();
  await world.startWorker();
  const victim = await world.startWorker();
  const before = await trial.takeCensus();
  await victim.kill();
  const client = trial.clientOf([api]);
  const load = keepBusy(6, (waitSeconds) =>
    client.submitSurely(nonceJob('sleep 0.3'), { waitSeconds }),
  );
  const crashes: Crash[] = [];
  for (const at of POINTS) crashes.push(...(await crashAt(victim, at, { times: 1, redis })));
  await load.stop();
  const judged = await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: STOCK });
  showRecovery('W1', { ...judged, crashes, engine: trial.engine });
});

test('W2: all workers are killed with 200 jobs queued: every job ends once, none is missing', async () => {
  trial = await startTrial();
  const { world } = trial;
  const api = await world.startApi();
  const workers = [await world.startWorker(), await world.startWorker()];
  const client = trial.clientOf([api]);
  const before = await trial.takeCensus();
  await client.submitBatchSurely(Array.from({ length: 200 }, () => nonceJob('sleep 0.1')));
  await until('some have begun', 30_000, () => trial.programs.starts().size > 10);
  trial.history.fault('both workers killed');
  await Promise.all(workers.map((worker) => worker.kill()));
  await Promise.all(workers.map((worker) => worker.start()));
  const { verdict } = await trial.judge([client]);
  expect(verdict.counts).toMatchObject({ accepted: 200, terminal: 200 });
  expect(verdict.outcomes).toEqual({ exited: 200 });
  // No more than ran on both.
  expect(verdict.counts.secondStarts).toBeLessThanOrEqual(6);
  await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
});

test('W3: a worker that stood still until its job had ended elsewhere changes nothing when it goes on', async () => {
  trial = await startTrial();
  const { world } = trial;
  const api = await world.startApi();
  const stopped = await world.startWorker();
  const client = trial.clientOf([api]);
  const job = nonceJob('sleep 2');
  const id = await client.submitSurely(job);
  await until('its program runs', 30_000, () => trial.programs.starts().has(job.nonce));
  stopped.signal('SIGSTOP');
  const other = await world.startWorker();
  const before = await trial.takeCensus();
  const result = await until('it has ended elsewhere', 60_000, async () => {
    const seen = await client.get(id, 10);
    return seen?.state === 'done' && JSON.parse(seen.text as string);
  });
  expect(result).toMatchObject({ outcome: { kind: 'exited' }, attempt: 2, worker: other.id });
  stopped.signal('SIGCONT');
  // It takes part again, and what it says of the old job counts for nothing.
  await until('it runs jobs again', 60_000, async () => {
    const next = await client.submitSurely(nonceJob(), { waitSeconds: 4 });
    const seen = await client.get(next, 10);
    return seen?.text?.includes(`"worker":"${stopped.id}"`);
  });
  expect(stopped.isUp).toBe(true);
  await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
});

test('W4: a worker whose event loop stood still past its lock has its late result refused', async () => {
  trial = await startTrial();
  const { world } = trial;
  const api = await world.startApi();
  const blocked = await world.startWorker(
    armed({ ...FROM_FIRST_JOB, at: 'last_frame', nth: 1, act: 'block', forMs: 28_000 }),
  );
  const client = trial.clientOf([api]);
  const job = nonceJob('sleep 0.5');
  const id = await client.submitSurely(job);
  await until('its program runs', 30_000, () => trial.programs.starts().has(job.nonce));
  const other = await world.startWorker();
  const before = await trial.takeCensus();
  const refused = new RegExp(`"job":"${id}".*"settled":"(fenced|already_done)"`);
  await until('its late result is refused', 90_000, () => refused.test(blocked.log()));
  const result = JSON.parse((await client.get(id))?.text as string);
  expect(result).toMatchObject({ outcome: { kind: 'exited' }, attempt: 2, worker: other.id });
  expect(trial.programs.starts().get(job.nonce)).toBe(2);
  await trial.judge([client]);
  await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
});

test('W5: workers and APIs that are replaced one after another under load lose nothing and start nothing twice', async () => {
  trial = await startTrial();
  const { world } = trial;
  const apis = [await world.startApi(), await world.startApi()];
  const workers = [await world.startWorker(), await world.startWorker()];
  const client = trial.clientOf(apis);
  const before = await trial.takeCensus();
  const load = keepBusy(6, (waitSeconds) =>
    client.submitSurely(nonceJob('sleep 0.2'), { waitSeconds }),
  );
  for (const member of [...workers, ...apis]) {
    trial.history.fault(`${member.role} ${member.pid} told to stop`);
    const exit = await member.kill('SIGTERM');
    expect({ role: member.role, ...exit }).toMatchObject({ code: 0, signal: null });
    await member.start();
    await sleep(1_000);
  }
  await load.stop();
  const { verdict } = await trial.judge([client], { maxStarts: 1 });
  expect(Object.keys(verdict.outcomes)).toEqual(['exited']);
  await trial.expectNothingLeaked(before, { stock: 2 * STOCK });
  show(
    'W5',
    `${verdict.counts.accepted} jobs over four replacements, ${verdict.counts.unknown} calls without an answer`,
  );
});

test('W6: a worker told to stop ends what outlasts the drain: it starts elsewhere, or is reported lost', async () => {
  trial = await startTrial();
  const { world } = trial;
  const api = await world.startApi();
  const leaving = await world.startWorker();
  const client = trial.clientOf([api]);
  const again = nonceJob('sleep 12', { timeoutMs: 60_000 });
  const once = nonceJob('sleep 12', { timeoutMs: 60_000, onLost: 'fail' });
  const [againId, onceId] = [await client.submitSurely(again), await client.submitSurely(once)];
  await until('both run', 30_000, () => {
    const starts = trial.programs.starts();
    return starts.has(again.nonce) && starts.has(once.nonce);
  });
  const other = await world.startWorker();
  const before = await trial.takeCensus();
  const toldAtMs = Date.now();
  expect(await leaving.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  const tookMs = Date.now() - toldAtMs;
  await until('its sandboxes are gone', 15_000, () => {
    const left = new Set(trial.engine.remaining());
    return !trial.engine.seen.some(({ id, worker }) => worker === leaving.id && left.has(id));
  });
  const { finals } = await trial.judge([client]);
  const resultOf = (id: string) => JSON.parse(finals.find((one) => one.id === id)?.text ?? 'null');
  expect(resultOf(againId)).toMatchObject({
    outcome: { kind: 'exited' },
    attempt: 2,
    worker: other.id,
  });
  expect(resultOf(onceId)).toMatchObject({
    outcome: { kind: 'lost' },
    fault: 'platform',
    attempt: 1,
  });
  expect(trial.programs.starts().get(once.nonce)).toBe(1);
  await trial.expectNothingLeaked(before, { stock: STOCK });
  show('W6', `ended ${tookMs} ms after SIGTERM; the drain is 2000 ms`);
});
