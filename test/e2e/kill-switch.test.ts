import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Caller, callerOf, type ServerProcess, startServer } from '../helpers/server.ts';

const RUN_WITHIN_MS = 20_000;

let server: ServerProcess;
let api: Caller;
beforeAll(async () => {
  server = await startServer({ COFFERDAM_SLOTS: '2', COFFERDAM_RESERVED_SLOTS: '0' });
  api = callerOf(server);
});
afterAll(() => server.stop());

async function put(more: object, rule: object = {}): Promise<void> {
  const etag = (await api.send('/v1/policy')).headers.get('etag') ?? '';
  const run = { name: 'run', tools: ['exec'], action: 'allow', ...rule };
  const look = { name: 'look', tools: ['job_*', 'policy_check'], action: 'allow' };
  const body = { version: '1', rules: [run, look], ...more };
  const headers = { 'If-Match': etag };
  const answer = await api.send('/v1/policy', { method: 'PUT', body, headers });
  if (answer.status !== 200) throw new Error(await answer.text());
}

async function untilRunning(id: string): Promise<void> {
  const deadline = Date.now() + RUN_WITHIN_MS;
  while ((await api.get(id)).state !== 'running') {
    if (Date.now() > deadline) throw new Error(`${id} does not run`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

it('ends what runs in the operator’s name, and what waits as denied, with the reason', async () => {
  await put({});
  const sleep = { command: ['sleep', '60'], timeoutMs: 90_000 };
  const running = [await api.submit(sleep), await api.submit(sleep)];
  for (const { id } of running) await untilRunning(id);
  const waiting = await api.submit({ command: ['true'] });
  await put({ killSwitch: { active: true, reason: 'Stop.', cancelRunning: true } });
  for (const { id } of running) {
    expect((await api.get(id, 30)).outcome).toEqual({ kind: 'cancelled', by: 'operator' });
  }
  expect(await api.get(waiting.id, 30)).toMatchObject({
    outcome: { kind: 'denied', rule: 'kill_switch', reason: 'Stop.' },
    fault: 'policy',
    ran: 'no',
  });
  await put({});
  expect(await api.run({ command: ['true'] })).toMatchObject({ exitCode: 0 });
});

it('a place of concurrency is free again when its job has ended, and a meter counts what was used', async () => {
  const wall = { max: 120_000, window: 300, per: 'grant', meter: 'wallMs' };
  await put({}, { concurrency: { max: 1, per: 'grant' }, rate_limit: wall });
  const first = await api.submit({ command: ['sleep', '1'], timeoutMs: 100_000 });
  const second = await api.send('/v1/jobs', { method: 'POST', body: { command: ['true'] } });
  expect(second.status).toBe(429);
  expect(Number(second.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await api.get(first.id, 30)).toMatchObject({ exitCode: 0 });
  // Had the first been left at its ceiling, there would be no room for another like it.
  const third = await api.run({ command: ['true'], timeoutMs: 100_000 });
  expect(third).toMatchObject({ exitCode: 0 });
});

it('a job that queues for a place runs once the one before it has ended', async () => {
  await put({}, { concurrency: { max: 1, per: 'grant', onExceed: 'queue' } });
  const jobs = await Promise.all([1, 2, 3, 4].map(() => api.submit({ command: ['sleep', '0.2'] })));
  const ends = await Promise.all(jobs.map(({ id }) => api.get(id, 30)));
  expect(ends.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0]);
  const times = ends
    .map(({ timing }) => [timing.startedAt ?? '', timing.finishedAt ?? ''] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  times.forEach(([startedAt], at) => {
    expect(startedAt >= (times[at - 1]?.[1] ?? '')).toBe(true);
  });
});
