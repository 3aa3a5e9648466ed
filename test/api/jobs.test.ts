import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createJobs, type Jobs, type ListQuery } from '../../services/api/jobs.ts';
import { createResults } from '../../services/api/results.ts';
import { jobPage } from '../../shared/contract/page.ts';
import { type JobResult, jobResult } from '../../shared/contract/result.ts';
import type { Admission } from '../../shared/queue/admit.ts';
import { handBackJob } from '../../shared/queue/begin.ts';
import { createEntrance } from '../../shared/queue/entrance.ts';
import { readRecord } from '../../shared/queue/job-record.ts';
import { keys } from '../../shared/queue/keys.ts';
import { admitted, begun, newId, settle } from '../shared/queue/job.ts';
import { silent, startRedis, type TestRedis } from '../shared/queue/redis.ts';

let server: TestRedis;
let jobs: Jobs;
beforeAll(async () => {
  server = await startRedis();
  const { redis } = server;
  const results = createResults({ redis, subscriber: redis, instance: 'i', log: silent });
  const entrance = createEntrance({ redis, log: silent });
  jobs = createJobs({ redis, results, entrance });
});
afterAll(() => server.stop());

const query = (over: Partial<ListQuery> = {}): ListQuery => ({
  state: undefined,
  label: undefined,
  afterMs: undefined,
  beforeMs: undefined,
  batch: undefined,
  limit: 50,
  cursor: undefined,
  ...over,
});

/** Every id that the pages of a listing hold, one after another. */
async function listAll(tenant: string, over: Partial<ListQuery> = {}): Promise<string[]> {
  const ids: string[] = [];
  let cursor: string | undefined;
  for (let pages = 0; pages < 500; pages++) {
    const page = await jobs.list({ tenant }, query({ ...over, cursor }));
    expect(jobPage.parse(page)).toEqual(page);
    expect(page.jobs.length).toBeLessThanOrEqual(over.limit ?? 50);
    ids.push(...page.jobs.map(({ id }) => id));
    if (page.next === null) return ids;
    cursor = page.next;
  }
  throw new Error('the listing does not end');
}

const someJobs = (tenant: string, times: readonly number[], over: Partial<Admission> = {}) =>
  Promise.all(
    times.map((acceptedAtMs) => admitted(server.redis, { tenant, acceptedAtMs, ...over })),
  );

describe('a listing', () => {
  it('neither skips nor repeats a job, whatever the times and the size of the pages', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(4), { maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        async (times, limit) => {
          const tenant = `t${newId()}`;
          const ids = await someJobs(
            tenant,
            times.map((time) => 1_700_000_000_000 + time),
          );
          const listed = await listAll(tenant, { limit });
          expect(listed).toHaveLength(ids.length);
          expect(new Set(listed)).toEqual(new Set(ids));
        },
      ),
      { numRuns: 25 },
    );
  });

  it('pages through more jobs of one millisecond than are looked at together', async () => {
    const tenant = 'crowded';
    const ids = await someJobs(
      tenant,
      Array.from({ length: 450 }, () => 1_700_000_000_000),
    );
    for (const limit of [7, 200]) {
      expect(new Set(await listAll(tenant, { limit }))).toEqual(new Set(ids));
    }
  });

  it('begins with the newest', async () => {
    const ids = await someJobs('ordered', [1_000, 3_000, 2_000]);
    expect(await listAll('ordered', { limit: 1 })).toEqual([ids[1], ids[2], ids[0]]);
  });

  it('skips no job when others of its millisecond are forgotten between two pages', async () => {
    const tenant = 'forgetful';
    const ids = await someJobs(
      tenant,
      Array.from({ length: 6 }, () => 1_700_000_000_000),
    );
    const order = await listAll(tenant);
    await server.redis.del(keys.job(order[0] as string));
    const listed = await listAll(tenant, { limit: 2 });
    expect(listed.toSorted()).toEqual(ids.filter((id) => id !== order[0]).toSorted());
  });

  it('shows only the jobs of its caller', async () => {
    await someJobs('mine', [1_000]);
    expect(await listAll('nobody')).toEqual([]);
  });

  it('finds by label, by state and by time', async () => {
    const tenant = 'finder';
    const [a, b, c] = [
      ...(await someJobs(tenant, [1_000], { labels: { run: '1' } })),
      ...(await someJobs(tenant, [2_000], { labels: { run: '2', x: 'a=b' } })),
      ...(await someJobs(tenant, [3_000])),
    ];
    await begun(server.redis, c ?? '');
    expect(await listAll(tenant, { label: 'run' })).toEqual([b, a]);
    expect(await listAll(tenant, { label: 'run=1' })).toEqual([a]);
    expect(await listAll(tenant, { label: 'x=a=b' })).toEqual([b]);
    expect(await listAll(tenant, { label: 'constructor' })).toEqual([]);
    expect(await listAll(tenant, { state: 'running' })).toEqual([c]);
    expect(await listAll(tenant, { afterMs: 2_000 })).toEqual([c, b]);
    expect(await listAll(tenant, { beforeMs: 2_000 })).toEqual([a]);
    expect(await listAll(tenant, { afterMs: 2_000, beforeMs: 3_000, limit: 1 })).toEqual([b]);
  });

  it.each(['', 'x', '1', '1.', '.1', '-1.0', '1.0.0', '(1.0', '1e3.0', '+inf.0', '9'.repeat(16)])(
    'refuses the cursor %j, which no page gave',
    async (cursor) => {
      const list = jobs.list({ tenant: 'mine' }, query({ cursor }));
      await expect(list).rejects.toMatchObject({ code: 'REQUEST_INVALID', field: 'cursor' });
    },
  );
});

const caller = { tenant: 'default' };
const parsed = (json: string): JobResult => jobResult.parse(JSON.parse(json));

describe('a job', () => {
  it('is shown to its owner, and to others as if there were none', async () => {
    const id = await admitted(server.redis);
    const view = await jobs.get(caller, id, 0);
    expect(view.isDone).toBe(false);
    expect(parsed(view.json)).toMatchObject({ id, state: 'queued' });
    for (const [who, what] of [
      [{ tenant: 'other' }, id],
      [caller, newId()],
    ] as const) {
      await expect(jobs.get(who, what, 0)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(jobs.cancel(who, what)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(jobs.artifact(who, what, 'a')).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(jobs.artifactPaths(who, what)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    }
  });

  it('that is done is shown exactly as it is stored', async () => {
    const id = await admitted(server.redis);
    await settle(server.redis, id, await begun(server.redis, id), { result: '{ "a" : 1 }' });
    expect(await jobs.get(caller, id, 0)).toEqual({ isDone: true, json: '{ "a" : 1 }' });
    expect(await jobs.get(caller, id, 1000)).toEqual({ isDone: true, json: '{ "a" : 1 }' });
  });

  it('that is cancelled while it waits is done at once, and never starts', async () => {
    const id = await admitted(server.redis);
    const view = await jobs.cancel(caller, id);
    expect(view.isDone).toBe(true);
    expect(parsed(view.json)).toMatchObject({
      outcome: { kind: 'cancelled', by: 'caller' },
      ran: 'no',
      attempt: 0,
    });
    expect((await jobs.cancel(caller, id)).json).toBe(view.json);
  });

  it('that is cancelled after its only start was handed back does not claim that nothing ran', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    await handBackJob(server.redis, { id, start, ran: 'yes' });
    expect(parsed((await jobs.cancel(caller, id)).json).ran).toBe('unknown');
  });

  it('that runs is marked for its worker, and stays open until that has ended it', async () => {
    const id = await admitted(server.redis);
    await begun(server.redis, id);
    expect((await jobs.cancel(caller, id)).isDone).toBe(false);
    expect(await readRecord(server.redis, id)).toMatchObject({ cancelledBy: 'caller' });
  });

  it('that is done stays as it is when it is cancelled', async () => {
    const id = await admitted(server.redis);
    await settle(server.redis, id, await begun(server.redis, id), { result: '{}' });
    expect(await jobs.cancel(caller, id)).toEqual({ isDone: true, json: '{}' });
  });

  it('has its artifacts by path, byte for byte', async () => {
    const id = await admitted(server.redis);
    const bytes = Buffer.from([0, 255, 10, 128]);
    await server.redis.hset(keys.artifacts(id), 'b/x', bytes, 'a', '');
    expect(await jobs.artifactPaths(caller, id)).toEqual(['a', 'b/x']);
    expect(await jobs.artifact(caller, id, 'b/x')).toEqual(bytes);
    expect(await jobs.artifact(caller, id, 'a')).toHaveLength(0);
    await expect(jobs.artifact(caller, id, 'c')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
