/** How a batch is bounded and stopped: in parallel, at the first failure, by its owner. */
import { describe, expect, inject, test } from 'vitest';
import { batchJobId } from '../../services/api/batch-job.ts';
import type { BatchView } from '../../shared/contract/batch.ts';
import { batchesOf, expectSound, figureOf, GROUPED, type ResultLine, sh } from './batch-api.ts';
import { until, untilRunning } from './watching.ts';

const batches = batchesOf(inject('server'));
const { api } = batches;

const sleepers = (count: number) =>
  Array.from({ length: count }, () => ({ ...sh('exec sleep 40'), timeoutMs: 60_000 }));

/** Most of them that ran at one time, by what the worker noted. */
function mostAtOnce(lines: readonly ResultLine[]): number {
  const moments = lines.flatMap(({ timing }) => [
    { at: Date.parse(timing.startedAt ?? ''), change: 1 },
    { at: Date.parse(timing.finishedAt ?? ''), change: -1 },
  ]);
  let now = 0;
  let most = 0;
  for (const { change } of moments.toSorted((a, b) => a.at - b.at || a.change - b.change)) {
    now += change;
    most = Math.max(most, now);
  }
  return most;
}

describe('maxParallel', () => {
  test('1 never has two jobs running, and keeps their order', async () => {
    const jobs = Array.from({ length: 12 }, (_, at) => sh(`sleep 0.05; echo ${at}`));
    const { id } = await batches.submit({ maxParallel: 1, defaults: GROUPED, jobs });
    const looks: BatchView[] = [];
    await until('done', 60_000, async () => {
      const view = await batches.get(id);
      looks.push(view);
      return view.state === 'done';
    });
    for (const view of looks) expectSound(view);
    expect(Math.max(...looks.map(({ counts }) => counts.running))).toBe(1);
    const lines = await batches.results(id);
    expect(mostAtOnce(lines)).toBe(1);
    expect(lines.map(({ index }) => index)).toEqual(jobs.map((_, index) => index));
  });

  test('leaves slots for others: a batch of one at a time does not hold up the next', async () => {
    const slow = await batches.submit({ maxParallel: 1, jobs: sleepers(4) });
    const quick = await batches.submit({ defaults: GROUPED, jobs: [sh('echo a'), sh('echo b')] });
    expect((await batches.untilOver(quick.id)).outcomes.exited_zero).toBe(2);
    expect((await batches.get(slow.id)).counts).toMatchObject({ total: 4, done: 0 });
    await batches.cancel(slow.id);
    await batches.untilOver(slow.id);
  });
});

describe('stopOnFirstFailure', () => {
  test.each([
    ['another exit code than 0', sh('exit 7'), 'exited_nonzero'],
    ['a timeout', { ...sh('sleep 30'), timeoutMs: 300 }, 'timed_out'],
    ['a program that is not there', { command: ['/none'] }, 'could_not_start'],
  ] as const)('cancels the rest after %s', async (_name, failing, outcome) => {
    const options = { maxParallel: 1, stopOnFirstFailure: true };
    const jobs = [sh('echo fine'), failing, ...sleepers(30)];
    const { id } = await batches.submit({ ...options, jobs });
    const over = await batches.untilOver(id);
    expect(over).toMatchObject({
      counts: { total: 32, done: 32 },
      outcomes: { exited_zero: 1, [outcome]: 1, cancelled: 30 },
    });
    const lines = await batches.results(id);
    const ran = lines.filter(({ outcome: { kind } }) => kind !== 'cancelled');
    expect(ran.map(({ index }) => index)).toEqual([0, 1]);
    for (const { index, ran: didRun } of lines) if (index > 1) expect(didRun).toBe('no');
  });

  test('ends jobs that run beside the one that failed', async () => {
    const jobs = [...sleepers(1), sh('sleep 1; exit 1'), ...sleepers(3)];
    const { id } = await batches.submit({ stopOnFirstFailure: true, jobs });
    expect(await batches.untilOver(id)).toMatchObject({
      outcomes: { exited_nonzero: 1, cancelled: 4 },
    });
  });

  test('changes nothing when none fails', async () => {
    const jobs = Array.from({ length: 10 }, () => sh('true'));
    const { id } = await batches.submit({ stopOnFirstFailure: true, defaults: GROUPED, jobs });
    expect(await batches.untilOver(id)).toMatchObject({
      state: 'done',
      outcomes: { exited_zero: 10, cancelled: 0 },
    });
  });
});

describe('DELETE', () => {
  test('cancels what waits and what runs, and a result tells of each', async () => {
    const jobs = sleepers(300);
    const { id } = await batches.submit({ jobs });
    await untilRunning(api, batchJobId(id, 0, null));
    const first = await batches.cancel(id);
    expect(first).toMatchObject({ status: 202, view: { state: 'cancelled' } });
    expectSound(first.view);
    const over = await batches.untilOver(id);
    expect(over).toMatchObject({ state: 'cancelled', outcomes: { cancelled: 300 } });
    const lines = await batches.results(id, '?follow=true');
    expect(new Set(lines.map(({ index }) => index)).size).toBe(300);
    const ran = lines.filter(({ ran: didRun }) => didRun === 'yes');
    // No more were ever started than there are slots for.
    expect(ran.length).toBeLessThanOrEqual(8);
    expect(await figureOf(api, 'open_jobs')).toBe(0);
  });

  test('again, ten times at once, changes nothing', async () => {
    const { id } = await batches.submit({ jobs: sleepers(20) });
    const answers = await Promise.all(Array.from({ length: 10 }, () => batches.cancel(id)));
    for (const { status } of answers) expect([200, 202]).toContain(status);
    const over = await batches.untilOver(id);
    expect(over.outcomes.cancelled).toBe(20);
    expect(await batches.cancel(id)).toEqual({ status: 200, view: over });
    expect(await batches.results(id)).toHaveLength(20);
  });

  test('of a batch that is done leaves it done', async () => {
    const { id } = await batches.submit({ defaults: GROUPED, jobs: [sh('echo a')] });
    const over = await batches.untilOver(id);
    expect(await batches.cancel(id)).toEqual({ status: 200, view: over });
    expect(over.state).toBe('done');
  });

  test('wakes whoever waits for the batch', async () => {
    const { id } = await batches.submit({ jobs: sleepers(3) });
    const waiting = batches.get(id, 60);
    await batches.cancel(id);
    expect(await waiting).toMatchObject({ state: 'cancelled', counts: { done: 3 } });
  });
});
