import { describe, expect, it } from 'vitest';
import { jobResult } from '../../../shared/contract/result.ts';
import { endWithoutRun, openJobView } from '../../../shared/queue/end-without-run.ts';
import type { JobRecord } from '../../../shared/queue/job-record.ts';
import { everyOutcome } from '../contract/outcomes.ts';

const record: JobRecord = {
  tenant: 'default',
  state: 'queued',
  lane: 'interactive',
  acceptedAt: 1_700_000_000_000,
  expiresAt: 1_700_000_100_000,
  retainMs: 1000,
  budgetMs: 1000,
  image: 'base',
  runtime: 'runc',
  labels: { a: 'b' },
  fence: 1,
  starts: 0,
  handedBack: 0,
};
const running: JobRecord = {
  ...record,
  state: 'running',
  starts: 1,
  takenAt: record.acceptedAt + 250,
  worker: 'w1',
};
const id = 'job_1';
const finishedAtMs = record.acceptedAt + 1000;

describe('the view of an open job', () => {
  it('is a result of the contract, without an outcome', () => {
    for (const one of [record, running]) {
      const view = openJobView(id, one);
      expect(jobResult.parse(view)).toEqual(view);
      expect(view).toMatchObject({ outcome: null, state: one.state, exitCode: null });
    }
  });

  it('says who runs it, and how long it waited', () => {
    expect(openJobView(id, running)).toMatchObject({
      worker: 'w1',
      attempt: 1,
      ran: 'unknown',
      timing: { queuedMs: 250 },
    });
  });

  it('of a job that was handed back names no worker and goes on counting its wait', () => {
    const view = openJobView(id, { ...running, state: 'queued' });
    expect(view.worker).toBeNull();
    expect(view.timing.queuedMs).toBeGreaterThan(250);
  });
});

describe('the end of a job of which nothing ran, or nothing is known', () => {
  it.each(everyOutcome.map((outcome) => [JSON.stringify(outcome), outcome] as const))(
    'is a result of the contract for %s',
    (_, outcome) => {
      for (const one of [record, running]) {
        const result = endWithoutRun({ id, record: one, outcome, finishedAtMs });
        expect(jobResult.parse(result)).toEqual(result);
        expect(result).toMatchObject({ state: 'done', outcome, stdout: '', artifacts: [] });
      }
    },
  );

  it('did not run when it was never started', () => {
    const outcome = { kind: 'cancelled', by: 'caller' } as const;
    expect(endWithoutRun({ id, record, outcome, finishedAtMs }).ran).toBe('no');
    expect(endWithoutRun({ id, record: running, outcome, finishedAtMs }).ran).toBe('unknown');
  });

  it('never says that nothing ran of a job that had been started', () => {
    const outcome = { kind: 'expired' } as const;
    const handedBack: JobRecord = { ...running, state: 'queued' };
    const result = endWithoutRun({ id, record: handedBack, outcome, finishedAtMs });
    expect(result.ran).not.toBe('no');
  });

  it('counts its wait to its end when no worker ever took it', () => {
    const outcome = { kind: 'expired' } as const;
    const { timing } = endWithoutRun({ id, record, outcome, finishedAtMs });
    expect(timing).toMatchObject({ queuedMs: 1000, runMs: 0, startedAt: null });
    expect(timing.finishedAt).toBe(new Date(finishedAtMs).toISOString());
  });

  it('has no negative figure when clocks disagree', () => {
    const skewed = { ...running, takenAt: record.acceptedAt - 5000 };
    const outcome = { kind: 'lost', cause: 'worker_lost' } as const;
    const result = endWithoutRun({ id, record: skewed, outcome, finishedAtMs: 0 });
    expect(jobResult.safeParse(result).success).toBe(true);
  });
});
