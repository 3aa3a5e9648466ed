import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { admitJob } from '../../../shared/queue/admit.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { admission, admitted, begun, newId, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const DAY_MS = 24 * 3_600_000;

describe('admitting a job', () => {
  it('writes a record that reads back as it was given', async () => {
    const job = admission({ labels: { a: '1' }, retainMs: 5000, budgetMs: 77 });
    expect(await admitJob(server.redis, job)).toMatchObject({ kind: 'accepted' });
    expect(await readRecord(server.redis, job.id)).toEqual({
      tenant: 'default',
      state: 'queued',
      acceptedAt: job.acceptedAtMs,
      expiresAt: job.expiresAtMs,
      retainMs: 5000,
      budgetMs: 77,
      image: 'base',
      runtime: 'runc',
      labels: { a: '1' },
      lane: 'interactive',
      tag: 0,
      starts: 0,
      fence: 0,
      handedBack: 0,
    });
    expect(await server.redis.hget(keys.job(job.id), 'spec')).toBe(job.spec);
  });

  it('counts the job as open and as not yet in the queue, and lists it for its tenant', async () => {
    const job = admission({ tenant: 'lister' });
    await admitJob(server.redis, job);
    expect(await server.redis.zscore(keys.open(), job.id)).toBe(String(job.expiresAtMs));
    expect(await server.redis.zscore(keys.unqueued(), job.id)).toBe(String(job.acceptedAtMs));
    expect(await server.redis.zrange(keys.tenantJobs('lister'), 0, -1)).toEqual([job.id]);
  });

  it('gives the record of an open job no time to live: it must outlast any wait', async () => {
    const id = await admitted(server.redis);
    expect(await server.redis.pttl(keys.job(id))).toBe(-1);
  });

  it('forgets jobs of the tenant that are older than any retention', async () => {
    const old = await admitted(server.redis, { tenant: 'old', acceptedAtMs: 1000 });
    const fresh = await admitted(server.redis, { tenant: 'old', forgetBeforeMs: 2000 });
    const listed = await server.redis.zrange(keys.tenantJobs('old'), 0, -1);
    expect(listed).toEqual([fresh]);
    expect(listed).not.toContain(old);
  });
});

describe('an Idempotency-Key', () => {
  const once = { key: 'k', body: 'b' };

  it('answers the same request with the first job and makes no second', async () => {
    const tenant = 'same';
    const id = await admitted(server.redis, { tenant, idempotency: once });
    const again = admission({ tenant, idempotency: once });
    expect(await admitJob(server.redis, again)).toEqual({ kind: 'repeated', id });
    expect(await readRecord(server.redis, again.id)).toBeUndefined();
    expect(await server.redis.zscore(keys.open(), again.id)).toBeNull();
  });

  it('refuses another request under the same key', async () => {
    const tenant = 'other-body';
    await admitted(server.redis, { tenant, idempotency: once });
    const other = admission({ tenant, idempotency: { key: 'k', body: 'other' } });
    expect(await admitJob(server.redis, other)).toEqual({ kind: 'key_reused' });
  });

  it('is one of its tenant alone', async () => {
    await admitted(server.redis, { tenant: 'left', idempotency: once });
    const right = admission({ tenant: 'right', idempotency: once });
    expect(await admitJob(server.redis, right)).toMatchObject({ kind: 'accepted' });
  });

  it('still answers with the first job when that one is done', async () => {
    const tenant = 'done';
    const id = await admitted(server.redis, { tenant, idempotency: once });
    await settle(server.redis, id, await begun(server.redis, id));
    const again = admission({ tenant, idempotency: once });
    expect(await admitJob(server.redis, again)).toEqual({ kind: 'repeated', id });
  });

  it('answers a repeated request even when the queue is full', async () => {
    const tenant = 'full-repeat';
    const id = await admitted(server.redis, { tenant, idempotency: once });
    const again = admission({ tenant, idempotency: once, maxOpenJobs: 1 });
    expect(await admitJob(server.redis, again)).toEqual({ kind: 'repeated', id });
  });

  it('lets one of fifty requests at once through, and answers all with that one', async () => {
    const tenant = 'parallel';
    const connections = await Promise.all([1, 2, 3, 4, 5].map(() => server.connect()));
    const replies = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const job = admission({ tenant, idempotency: once });
        const reply = await admitJob(connections[index % 5] ?? server.redis, job);
        return reply.kind === 'repeated' ? reply : { ...reply, id: job.id };
      }),
    );
    expect(replies.filter(({ kind }) => kind === 'accepted')).toHaveLength(1);
    expect(replies.filter(({ kind }) => kind === 'repeated')).toHaveLength(49);
    expect(new Set(replies.map((reply) => ('id' in reply ? reply.id : ''))).size).toBe(1);
    expect(await server.redis.zcard(keys.tenantJobs(tenant))).toBe(1);
  });

  it('is kept for a day', async () => {
    await admitted(server.redis, { tenant: 'short', idempotency: once });
    const ttl = await server.redis.pttl(keys.idempotency('short', 'k'));
    expect(ttl).toBeGreaterThan(DAY_MS - 10_000);
    expect(ttl).toBeLessThanOrEqual(DAY_MS);
  });

  it('is kept longer than a day for a job that may wait and be kept longer', async () => {
    const acceptedAtMs = Date.now();
    const times = { acceptedAtMs, expiresAtMs: acceptedAtMs + 3 * DAY_MS, retainMs: 2 * DAY_MS };
    await admitted(server.redis, { tenant: 'long', idempotency: once, ...times });
    const ttl = await server.redis.pttl(keys.idempotency('long', 'k'));
    expect(ttl).toBeGreaterThan(5 * DAY_MS - 10_000);
  });
});

describe('a full queue', () => {
  it('accepts nothing and leaves no trace of what it refused', async () => {
    const open = await server.redis.zcard(keys.open());
    const tenant = 'crowd';
    const idempotency = { key: 'full', body: 'b' };
    const refused = admission({ id: newId(), tenant, idempotency, maxOpenJobs: open });
    expect(await admitJob(server.redis, refused)).toEqual({ kind: 'full' });
    expect(await server.redis.exists(keys.job(refused.id), keys.tenantJobs(tenant))).toBe(0);
    expect(await server.redis.exists(keys.idempotency(tenant, 'full'))).toBe(0);
    expect(await server.redis.zcard(keys.open())).toBe(open);
  });

  it('accepts again once a job is done', async () => {
    const id = await admitted(server.redis);
    const maxOpenJobs = await server.redis.zcard(keys.open());
    expect(await admitJob(server.redis, admission({ maxOpenJobs }))).toEqual({ kind: 'full' });
    await settle(server.redis, id, null, { from: 'queued' });
    expect(await admitJob(server.redis, admission({ maxOpenJobs }))).toMatchObject({
      kind: 'accepted',
    });
  });
});

describe('a tenant with as many open jobs as it may have', () => {
  it('gets no more in until one of them is done; another tenant does', async () => {
    const share = { cost: 1, maxOpenJobs: 2, maxRunningJobs: null };
    const tenant = 'bounded';
    const idempotency = { key: 'bounded', body: 'b' };
    const [first] = [
      await admitted(server.redis, { tenant, share }),
      await admitted(server.redis, { tenant, share }),
    ];
    const refused = admission({ tenant, share, idempotency });
    expect(await admitJob(server.redis, refused)).toEqual({ kind: 'tenant_full' });
    expect(await server.redis.exists(keys.job(refused.id))).toBe(0);
    expect(await server.redis.exists(keys.idempotency(tenant, 'bounded'))).toBe(0);
    await admitted(server.redis, { tenant: 'free', share });
    await settle(server.redis, first as string, await begun(server.redis, first as string));
    expect(await admitJob(server.redis, refused)).toMatchObject({ kind: 'accepted' });
  });
});
