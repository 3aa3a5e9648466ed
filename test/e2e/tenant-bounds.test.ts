/** What a tenant may have at once: no more of it runs or waits, and nothing that was accepted is forgotten. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTenantServer } from '../helpers/tenants.ts';
import { type Batches, batchesOf, expectRefused, GROUPED, sh } from './batch-api.ts';
import { until, untilDone, untilRunning } from './watching.ts';

const MAX_RUNNING = 2;
const MAX_OPEN = 3;

let server: Awaited<ReturnType<typeof startTenantServer<'capped' | 'small' | 'free'>>>;
const of = (name: keyof typeof server.keys): Batches =>
  batchesOf({ url: server.url, key: server.keys[name] });
beforeAll(async () => {
  server = await startTenantServer(
    { capped: { maxRunningJobs: MAX_RUNNING }, small: { maxOpenJobs: MAX_OPEN }, free: {} },
    { COFFERDAM_SLOTS: '4' },
  );
});
afterAll(async () => expect(await server.stop()).toBe(0));

/** Says when it began and when it ended, by the clock of the machine. */
const REPORTING = sh('date +%s%N; sleep 0.1; date +%s%N');

/** Most programs that were between their two reports at one time. */
function mostAtOnce(outputs: readonly string[]): number {
  const moments = outputs.flatMap((text) => {
    const [from = 0n, to = 0n] = text.trim().split('\n').map(BigInt);
    return [
      { at: from, change: 1 },
      { at: to, change: -1 },
    ];
  });
  let now = 0;
  let most = 0;
  for (const { change } of moments.toSorted((a, b) => (a.at < b.at ? -1 : 1))) {
    now += change;
    most = Math.max(most, now);
  }
  return most;
}

describe('maxRunningJobs', () => {
  test('is never passed, is reached, and holds up none for ever', async () => {
    const capped = of('capped');
    const jobs = Array.from({ length: 30 }, () => REPORTING);
    const [{ id }, ...single] = await Promise.all([
      capped.submit({ defaults: GROUPED, jobs }),
      ...Array.from({ length: 15 }, () => capped.api.run(REPORTING)),
    ]);
    await capped.untilOver(id);
    const lines = await capped.results(id);
    expect(lines).toHaveLength(30);
    expect(mostAtOnce([...lines, ...single].map(({ stdout }) => stdout))).toBe(MAX_RUNNING);
  });

  test('counts right after jobs that were cancelled, timed out and killed', async () => {
    const { api } = of('capped');
    const sleeping = { ...sh('exec sleep 40'), timeoutMs: 60_000 };
    const running = await Promise.all([api.submit(sleeping), api.submit(sleeping)]);
    await Promise.all(running.map(({ id }) => untilRunning(api, id)));
    const waiting = await Promise.all([
      api.submit(sleeping),
      api.submit({ ...sh('sleep 20'), timeoutMs: 300 }),
      api.submit(sh('kill -9 $$')),
      api.submit({ command: ['/none'] }),
    ]);
    // Parked, then cancelled: it must not come back.
    await api.send(`/v1/jobs/${waiting[0].id}`, { method: 'DELETE' });
    for (const { id } of running) await api.send(`/v1/jobs/${id}`, { method: 'DELETE' });
    const ends = await Promise.all(waiting.map(({ id }) => untilDone(api, id)));
    expect(ends.map(({ outcome }) => outcome?.kind)).toEqual([
      'cancelled',
      'timed_out',
      'signaled',
      'could_not_start',
    ]);
    const after = await Promise.all(Array.from({ length: 12 }, () => api.run(REPORTING)));
    expect(mostAtOnce(after.map(({ stdout }) => stdout))).toBe(MAX_RUNNING);
  });

  test('leaves the other slots to other tenants', async () => {
    const [capped, free] = [of('capped'), of('free')];
    const jobs = Array.from({ length: 10 }, () => ({ ...sh('exec sleep 30'), timeoutMs: 60_000 }));
    const { id } = await capped.submit({ jobs });
    await until('its two run', 30_000, async () => (await capped.get(id)).counts.running === 2);
    const bulk = { ...sh('echo free'), lane: 'bulk' } as const;
    const results = await Promise.all(Array.from({ length: 6 }, () => free.api.run(bulk)));
    expect(results.map(({ stdout }) => stdout)).toEqual(Array(6).fill('free\n'));
    expect((await capped.get(id)).counts).toMatchObject({ running: MAX_RUNNING, done: 0 });
    await capped.cancel(id);
    expect((await capped.untilOver(id)).outcomes.cancelled).toBe(10);
  });
});

describe('maxOpenJobs', () => {
  test('refuses more with a time to come back, and takes them once there is room', async () => {
    const [small, free] = [of('small'), of('free')];
    const sleeping = { ...sh('exec sleep 40'), timeoutMs: 60_000 };
    const open = await Promise.all(
      Array.from({ length: MAX_OPEN }, () => small.api.submit(sleeping)),
    );
    const full = { status: 429, code: 'TOO_MANY_OPEN_JOBS' };
    for (let again = 0; again < 3; again++) {
      const response = await small.api.send('/v1/jobs', { method: 'POST', body: sleeping });
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
      await expectRefused(response, full);
    }
    const batch = await small.send({ jobs: [sleeping] });
    expect(Number(batch.headers.get('retry-after'))).toBeGreaterThan(0);
    await expectRefused(batch, full);
    expect((await free.api.run(sh('echo free'))).stdout).toBe('free\n');

    const [first, ...rest] = open;
    await small.api.send(`/v1/jobs/${first?.id}`, { method: 'DELETE' });
    await untilDone(small.api, first?.id ?? '');
    const next = await small.api.submit(sleeping);
    await expectRefused(await small.api.send('/v1/jobs', { method: 'POST', body: sleeping }), full);
    for (const { id } of [...rest, next]) {
      await small.api.send(`/v1/jobs/${id}`, { method: 'DELETE' });
    }
    await Promise.all([...rest, next].map(({ id }) => untilDone(small.api, id)));
    const quick = { defaults: GROUPED, jobs: Array.from({ length: MAX_OPEN }, () => sh('true')) };
    const { id } = await small.submit(quick);
    expect((await small.untilOver(id)).outcomes.exited_zero).toBe(MAX_OPEN);
  });

  test('refuses a batch that is too large as a whole, and leaves nothing of it open', async () => {
    const small = of('small');
    const jobs = Array.from({ length: MAX_OPEN + 1 }, () => sh('true'));
    const response = await small.send({ defaults: GROUPED, jobs });
    await expectRefused(response, { status: 429, code: 'TOO_MANY_OPEN_JOBS' });
    const { id } = await small.submit({ defaults: GROUPED, jobs: jobs.slice(1) });
    expect((await small.untilOver(id)).outcomes.exited_zero).toBe(MAX_OPEN);
  });
});
