/** Jobs over HTTP apart from how they end: waiting, repeating, listing. */
import { randomUUID } from 'node:crypto';
import { describe, expect, inject, test } from 'vitest';
import type { JobPage, JobRequest, JobResult } from '../../shared/contract/index.ts';
import { KEEPS_EVERYTHING, startOperatorsRedis } from '../helpers/redis.ts';
import { callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { occupySlots, untilDone, untilRunning } from './watching.ts';

const api = callerOf(inject('server'));
const post = (body: JobRequest, headers: Record<string, string> = {}): Promise<Response> =>
  api.send('/v1/jobs', { method: 'POST', body, headers });
const jobOf = async (response: Response): Promise<JobResult> =>
  (await response.json()) as JobResult;

describe('waiting', () => {
  test('without a wait a job is accepted with 202 and the place where it is found', async () => {
    const response = await post({ command: ['true'], labels: { a: 'b' } });
    const job = await jobOf(response);
    expect(response.status).toBe(202);
    expect(response.headers.get('location')).toBe(`/v1/jobs/${job.id}`);
    expect(job.id).toMatch(/^job_[0-9a-f]{32}$/);
    expect(job).toMatchObject({ outcome: null, exitCode: null, stdout: '', labels: { a: 'b' } });
    expect(['queued', 'running']).toContain(job.state);
    const done = await untilDone(api, job.id);
    expect(done).toMatchObject({ id: job.id, exitCode: 0, labels: { a: 'b' } });
  });

  test('a job done within its wait is answered with 200 and its result', async () => {
    const response = await post({ command: ['echo', 'x'] }, { Prefer: 'wait=30' });
    const job = await jobOf(response);
    expect(response.status).toBe(200);
    expect(response.headers.get('preference-applied')).toBe('wait=30');
    expect(job).toMatchObject({ state: 'done', stdout: 'x\n' });
    expect(await api.get(job.id)).toEqual(job);
  });

  test('a job not done within its wait is answered with 202, and is had by waiting on', async () => {
    const response = await post(
      { command: ['sh', '-c', 'sleep 2.5; echo end'] },
      { Prefer: 'respond-async, wait=1' },
    );
    expect(response.status).toBe(202);
    const { id, state, outcome } = await jobOf(response);
    expect(response.headers.get('location')).toBe(`/v1/jobs/${id}`);
    expect([state, outcome]).toEqual(['running', null]);
    expect(await api.get(id, 30)).toMatchObject({ state: 'done', stdout: 'end\n' });
  });

  test('a look with a wait comes back in time when the job is still under way', async () => {
    const { id } = await api.submit({ command: ['sleep', '30'], timeoutMs: 60_000 });
    await untilRunning(api, id);
    const startedAt = Date.now();
    expect(await api.get(id, 1)).toMatchObject({ state: 'running', attempt: 1 });
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(900);
    expect(Date.now() - startedAt).toBeLessThan(15_000);
    await api.send(`/v1/jobs/${id}`, { method: 'DELETE' });
    await untilDone(api, id);
  });

  test('many who wait for one job all have the same result', async () => {
    const { id } = await api.submit({ command: ['sh', '-c', 'sleep 0.7; echo x'] });
    const results = await Promise.all(Array.from({ length: 40 }, () => api.get(id, 30)));
    expect(results[0]).toMatchObject({ state: 'done', stdout: 'x\n' });
    for (const result of results) expect(result).toEqual(results[0]);
  });

  test('a result too large to travel in a message arrives as well', async () => {
    const result = await api.run({
      command: ['sh', '-c', 'head -c 700000 /dev/zero | tr "\\0" x'],
    });
    expect(result.stdout).toHaveLength(700_000);
  });
});

describe('Idempotency-Key', () => {
  test('H32 fifty of the same request at once are one job', async () => {
    const key = randomUUID();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, at) =>
        post(
          { command: ['echo', 'once'], labels: { key } },
          { 'Idempotency-Key': key, ...(at % 2 === 0 ? { Prefer: 'wait=30' } : {}) },
        ),
      ),
    );
    const jobs = await Promise.all(answers.map(jobOf));
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1);
    for (const [at, answer] of answers.entries()) {
      expect([200, 202]).toContain(answer.status);
      if (at % 2 === 0) expect(jobs[at]).toMatchObject({ state: 'done', stdout: 'once\n' });
    }
    const page = (await (await api.send(`/v1/jobs?label=key=${key}`)).json()) as JobPage;
    expect(page.jobs).toHaveLength(1);
  });

  test('a repetition after the end answers with the result', async () => {
    const headers = { 'Idempotency-Key': randomUUID(), Prefer: 'wait=30' };
    const first = await jobOf(await post({ command: ['date', '+%N'] }, headers));
    const again = await post({ command: ['date', '+%N'] }, headers);
    expect(again.status).toBe(200);
    expect(await jobOf(again)).toEqual(first);
  });

  test('with another request it is refused, and that request is not run', async () => {
    const headers = { 'Idempotency-Key': randomUUID() };
    const first = await jobOf(await post({ command: ['echo', '1'] }, headers));
    const other = await post({ command: ['echo', '2'] }, headers);
    expect(other.status).toBe(422);
    expect(other.headers.get('content-type')).toContain('application/problem+json');
    expect(await other.json()).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });
    expect((await untilDone(api, first.id)).stdout).toBe('1\n');
  });

  test('another key is another job', async () => {
    const body = { command: ['true'] };
    const one = await jobOf(await post(body, { 'Idempotency-Key': randomUUID() }));
    const two = await jobOf(await post(body, { 'Idempotency-Key': randomUUID() }));
    expect(one.id).not.toBe(two.id);
  });

  test('finds the job also where the same request would be refused by now', async () => {
    const redis = await startOperatorsRedis(...KEEPS_EVERYTHING);
    const shared = { COFFERDAM_REDIS_URL: redis.url, COFFERDAM_DEV_KEY: 'k'.repeat(36) };
    const apis: ServerProcess[] = [];
    try {
      apis.push(await startServer(shared, { command: 'api' }));
      const lowered = { ...shared, COFFERDAM_MAX_TIMEOUT_MS: '10000' };
      apis.push(await startServer(lowered, { command: 'api' }));
      const [before, after] = apis.map((own) => callerOf(own));
      const body = { command: ['true'], timeoutMs: 20_000 };
      const send = (to = before, key = 'one') =>
        to?.send('/v1/jobs', { method: 'POST', body, headers: { 'Idempotency-Key': key } });
      const first = (await (await send())?.json()) as JobResult;
      expect(first).toMatchObject({ state: 'queued' });
      expect(await (await send(after))?.json()).toMatchObject({ id: first.id });
      expect(await (await send(after, 'two'))?.json()).toMatchObject({ field: 'timeoutMs' });
    } finally {
      await Promise.all(apis.map((own) => own.stop()));
      await redis.stop();
    }
  });
});

describe('listing', () => {
  const list = async (query: Record<string, string>): Promise<JobPage> => {
    const response = await api.send(`/v1/jobs?${new URLSearchParams(query)}`);
    if (response.status !== 200) throw new Error(await response.text());
    return (await response.json()) as JobPage;
  };
  const walk = async (query: Record<string, string>): Promise<JobPage['jobs']> => {
    const all: JobPage['jobs'] = [];
    let page = await list(query);
    for (let pages = 1; ; pages++) {
      all.push(...page.jobs);
      if (page.next === null) return all;
      if (pages > 100) throw new Error('the pages have no end');
      page = await list({ ...query, cursor: page.next });
    }
  };

  test('pages neither skip nor repeat, the newest first, while jobs of one millisecond abound', async () => {
    const run = randomUUID();
    const jobs = await Promise.all(
      Array.from({ length: 30 }, (_, at) =>
        api.submit({ command: ['true'], labels: { run, parity: at % 2 === 0 ? 'even' : 'odd' } }),
      ),
    );
    const ids = jobs.map(({ id }) => id).sort();
    for (const limit of ['1', '7', '30', '200']) {
      const listed = await walk({ label: `run=${run}`, limit });
      expect(listed.map(({ id }) => id).sort()).toEqual(ids);
      const times = listed.map(({ acceptedAt }) => Date.parse(acceptedAt));
      expect(times).toEqual([...times].sort((a, b) => b - a));
    }
    expect(await walk({ label: 'run', limit: '200' })).toEqual(
      expect.arrayContaining([expect.objectContaining({ id: ids[0] })]),
    );
    for (const { id } of jobs) await untilDone(api, id);
    const done = await walk({ label: `run=${run}`, state: 'done', limit: '4' });
    expect(done.map(({ id }) => id).sort()).toEqual(ids);
    expect(done[0]).toMatchObject({
      state: 'done',
      outcome: { kind: 'exited', exitCode: 0 },
      image: 'base',
      labels: { run },
      finishedAt: expect.any(String),
    });
  });

  test('a state is listed as it is now', async () => {
    const run = randomUUID();
    const release = await occupySlots(api);
    try {
      const { id } = await api.submit({ command: ['true'], labels: { run } });
      const label = `run=${run}`;
      expect((await list({ label, state: 'queued' })).jobs.map((job) => job.id)).toEqual([id]);
      expect((await list({ label, state: 'running' })).jobs).toEqual([]);
      expect((await list({ label, state: 'done' })).jobs).toEqual([]);
      expect((await list({ state: 'running' })).jobs.length).toBeGreaterThan(0);
      await release();
      await untilDone(api, id);
      expect((await list({ label, state: 'done' })).jobs.map((job) => job.id)).toEqual([id]);
      expect((await list({ label, state: 'queued' })).jobs).toEqual([]);
    } finally {
      await release();
    }
  });

  test('a time is a border: `after` includes it and `before` does not', async () => {
    const run = randomUUID();
    const jobs: JobResult[] = [];
    for (let at = 0; at < 3; at++) jobs.push(await api.run({ command: ['true'], labels: { run } }));
    const [first, second, third] = jobs as [JobResult, JobResult, JobResult];
    const label = `run=${run}`;
    const ids = async (query: Record<string, string>) =>
      (await list({ label, ...query })).jobs.map(({ id }) => id);
    const { acceptedAt } = second.timing;
    expect(await ids({ after: acceptedAt })).toEqual([third.id, second.id]);
    expect(await ids({ before: acceptedAt })).toEqual([first.id]);
    expect(await ids({ after: acceptedAt, before: third.timing.acceptedAt })).toEqual([second.id]);
    expect(await ids({ before: acceptedAt, limit: '1' })).toEqual([first.id]);
  });

  test('a label matches by its whole name and value, whatever is in them', async () => {
    const run = randomUUID();
    const { id } = await api.run({
      command: ['true'],
      labels: { [run]: 'a=b c&d é', constructor: 'x' },
    });
    const ids = async (label: string) => (await list({ label })).jobs.map((job) => job.id);
    expect(await ids(run)).toEqual([id]);
    expect(await ids(`${run}=a=b c&d é`)).toEqual([id]);
    expect(await ids(`${run}=a`)).toEqual([]);
    expect(await ids(run.slice(0, 10))).toEqual([]);
    expect(await ids('toString')).toEqual([]);
  });
});
