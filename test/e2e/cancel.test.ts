/** Ends from outside: cancelled, expired, lost. */
import { describe, expect, inject, test } from 'vitest';
import type { JobResult } from '../../shared/contract/result.ts';
import { docker } from '../helpers/docker.ts';
import { callerOf } from '../helpers/server.ts';
import {
  occupySlots,
  sandboxRunning,
  until,
  untilDone,
  untilGone,
  untilRunning,
} from './watching.ts';

const api = callerOf(inject('server'));
const cancel = async (
  id: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; job: JobResult }> => {
  const response = await api.send(`/v1/jobs/${id}`, { method: 'DELETE', headers });
  return { status: response.status, job: (await response.json()) as JobResult };
};

describe('cancelled', () => {
  test('a client that names a content type and sends nothing is understood', async () => {
    const { id } = await api.run({ command: ['true'] });
    const { status, job } = await cancel(id, { 'Content-Type': 'application/json' });
    expect([status, job.id]).toEqual([200, id]);
  });

  test('a queued job that is cancelled is done at once and never starts', async () => {
    const release = await occupySlots(api);
    try {
      const { id, state } = await api.submit({ command: ['echo', 'ran'] });
      expect(state).toBe('queued');
      const { status, job } = await cancel(id);
      expect(status).toBe(200);
      expect(job).toMatchObject({
        state: 'done',
        outcome: { kind: 'cancelled', by: 'caller' },
        fault: 'caller',
        ran: 'no',
        attempt: 0,
        exitCode: null,
        stdout: '',
        worker: null,
      });
      await release();
      await api.run({ command: ['true'] });
      expect(await api.get(id)).toEqual(job);
    } finally {
      await release();
    }
  });

  test('whoever waits for a queued job hears at once that it was cancelled', async () => {
    const release = await occupySlots(api);
    try {
      const { id } = await api.submit({ command: ['true'] });
      const waiting = api.get(id, 30);
      await cancel(id);
      expect((await waiting).outcome).toEqual({ kind: 'cancelled', by: 'caller' });
    } finally {
      await release();
    }
  });

  test('a running job that is cancelled keeps its output, and its sandbox goes', async () => {
    const { id } = await api.submit({
      command: ['sh', '-c', 'echo partial; exec sleep 33.125'],
      timeoutMs: 60_000,
    });
    const sandbox = await sandboxRunning('sleep 33.125');
    const { status, job } = await cancel(id);
    expect([200, 202]).toContain(status);
    expect(job.id).toBe(id);
    const startedAt = Date.now();
    expect(await untilDone(api, id)).toMatchObject({
      outcome: { kind: 'cancelled', by: 'caller' },
      fault: 'caller',
      ran: 'yes',
      retryable: false,
      exitCode: null,
      timedOut: false,
      stdout: 'partial\n',
    });
    expect(Date.now() - startedAt).toBeLessThan(10_000);
    await untilGone(sandbox);
  });

  test('cancelling twice, and ten times at once, is cancelling once', async () => {
    const { id } = await api.submit({ command: ['sleep', '30'], timeoutMs: 60_000 });
    await untilRunning(api, id);
    const answers = await Promise.all(Array.from({ length: 10 }, () => cancel(id)));
    for (const { status } of answers) expect([200, 202]).toContain(status);
    const done = await untilDone(api, id);
    expect(done.outcome).toEqual({ kind: 'cancelled', by: 'caller' });
    expect(await cancel(id)).toEqual({ status: 200, job: done });
  });

  test('cancelling a job right after submitting it always ends it', async () => {
    const jobs = await Promise.all(
      Array.from({ length: 12 }, () => api.submit({ command: ['sleep', '20'], timeoutMs: 30_000 })),
    );
    await Promise.all(jobs.map(({ id }) => cancel(id)));
    for (const { id } of jobs) {
      expect((await untilDone(api, id)).outcome).toEqual({ kind: 'cancelled', by: 'caller' });
    }
  });

  test('cancelling a job that is done changes nothing', async () => {
    const done = await api.run({ command: ['sh', '-c', 'echo kept; exit 4'] });
    expect(await cancel(done.id)).toEqual({ status: 200, job: done });
    expect(await api.get(done.id)).toEqual(done);
  });
});

test('a job that waits longer than expiresInMs is expired and did not run', async () => {
  const release = await occupySlots(api);
  try {
    const { id } = await api.submit({ command: ['echo', 'ran'], expiresInMs: 300 });
    const result = await untilDone(api, id);
    expect(result).toMatchObject({
      outcome: { kind: 'expired' },
      fault: 'platform',
      retryable: true,
      ran: 'no',
      attempt: 0,
      stdout: '',
      exitCode: null,
    });
    expect(result.timing.startedAt).toBeNull();
  } finally {
    await release();
  }
});

describe('lost', () => {
  test('a sandbox that is removed by hand is lost when no second start was wanted', async () => {
    const { id } = await api.submit({
      command: ['sh', '-c', 'echo partial; exec sleep 34.125'],
      timeoutMs: 60_000,
      onLost: 'fail',
    });
    const sandbox = await sandboxRunning('sleep 34.125');
    await docker('rm', '-f', sandbox);
    expect(await untilDone(api, id)).toMatchObject({
      outcome: { kind: 'lost', cause: 'sandbox_lost' },
      fault: 'platform',
      retryable: true,
      ran: 'yes',
      exitCode: null,
      timedOut: false,
      stdout: 'partial\n',
      attempt: 1,
    });
  });

  test('a sandbox that is killed by hand is started a second time, and that is the result', async () => {
    const { id } = await api.submit({
      command: ['sh', '-c', 'echo once; sleep 5.0625; echo end'],
      timeoutMs: 60_000,
    });
    const sandbox = await sandboxRunning('sleep 5.0625');
    await docker('kill', sandbox);
    expect(await untilDone(api, id)).toMatchObject({
      outcome: { kind: 'exited', exitCode: 0 },
      fault: 'none',
      stdout: 'once\nend\n',
      attempt: 2,
    });
    await untilGone(sandbox);
  });

  test('a job whose sandboxes are lost twice is not started a third time', async () => {
    const { id } = await api.submit({ command: ['sleep', '35.125'], timeoutMs: 60_000 });
    const first = await sandboxRunning('sleep 35.125');
    await docker('rm', '-f', first);
    const second = await until('a second sandbox', 30_000, async () => {
      const now = await sandboxRunning('sleep 35.125');
      return now !== first && now;
    });
    await docker('rm', '-f', second);
    expect(await untilDone(api, id)).toMatchObject({
      outcome: { kind: 'lost', cause: 'sandbox_lost' },
      fault: 'platform',
      retryable: true,
      attempt: 2,
    });
  });
});
