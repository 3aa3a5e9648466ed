import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobNameOf } from '../../../shared/contract/blob.ts';
import {
  BLOB_OVERHEAD_BYTES,
  findBlob,
  keepBlobs,
  putBlob,
  readBlob,
} from '../../../shared/queue/blobs.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { eventually, startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const MINUTE_MS = 60_000;
const QUOTA = 1_000_000;

/** A tenant of one test. */
let tenants = 0;
function aTenant() {
  const tenant = `t${tenants++}`;
  const { redis } = server;
  return {
    tenant,
    async put(content: string | Buffer, over: { lifeMs?: number; quotaBytes?: number } = {}) {
      const bytes = Buffer.from(content as string);
      const blob = await blobNameOf(bytes);
      const limits = { lifeMs: MINUTE_MS, quotaBytes: QUOTA, ...over };
      return { blob, ...(await putBlob(redis, { tenant, blob, content: bytes, ...limits })) };
    },
    keep: (blobs: readonly string[], lifeMs = MINUTE_MS) =>
      keepBlobs(redis, { tenant, blobs, lifeMs }),
    find: (blob: string) => findBlob(redis, tenant, blob),
    read: (blob: string) => readBlob(redis, tenant, blob),
    charged: async () => Number(await redis.hget(keys.tenantBlobBytes(tenant), 'total')),
    gone: (blob: string) =>
      eventually(
        'the blob expired',
        async () => (await redis.exists(keys.blob(tenant, blob))) === 0,
      ),
  };
}

describe('a blob', () => {
  it('is read back as it was put, byte for byte', async () => {
    const { put, read, find } = aTenant();
    const content = Buffer.from(Array.from({ length: 1024 }, (_, at) => at % 256));
    const { blob, kind } = await put(content);
    expect(kind).toBe('new');
    expect((await read(blob))?.equals(content)).toBe(true);
    expect(await find(blob)).toMatchObject({ bytes: 1024 });
  });

  it('may be empty', async () => {
    const { put, read, find, keep } = aTenant();
    const { blob, kind } = await put('');
    expect(kind).toBe('new');
    expect(await read(blob)).toEqual(Buffer.alloc(0));
    expect(await find(blob)).toMatchObject({ bytes: 0 });
    expect(await keep([blob])).toEqual([0]);
  });

  it('is its tenant’s alone', async () => {
    const { put } = aTenant();
    const other = aTenant();
    const { blob } = await put('mine');
    expect(await other.read(blob)).toBeNull();
    expect(await other.find(blob)).toBeUndefined();
    expect(await other.keep([blob])).toEqual([undefined]);
  });

  it('is gone when its time is, and its account with the last of them', async () => {
    const { tenant, put, find, keep, gone } = aTenant();
    const { blob } = await put('short', { lifeMs: 50 });
    await gone(blob);
    expect(await find(blob)).toBeUndefined();
    expect(await keep([blob])).toEqual([undefined]);
    const account = [keys.tenantBlobs(tenant), keys.tenantBlobBytes(tenant)];
    await eventually('nothing left', async () => (await server.redis.exists(account)) === 0);
  });
});

describe('putting what is there', () => {
  it('costs nothing, and lengthens its life', async () => {
    const { put, charged } = aTenant();
    const first = await put('twice', { lifeMs: MINUTE_MS });
    const cost = await charged();
    expect(cost).toBe(5 + BLOB_OVERHEAD_BYTES);
    const second = await put('twice', { lifeMs: 2 * MINUTE_MS, quotaBytes: cost });
    expect(second.kind).toBe('kept');
    expect(await charged()).toBe(cost);
    if (first.kind === 'over_quota' || second.kind === 'over_quota') throw new Error('no room');
    expect(second.expiresAtMs - first.expiresAtMs).toBeGreaterThanOrEqual(MINUTE_MS);
  });

  it('never shortens its life', async () => {
    const { put, find } = aTenant();
    const { blob } = await put('long', { lifeMs: 10 * MINUTE_MS });
    await put('long', { lifeMs: 1000 });
    expect((await find(blob))?.expiresAtMs).toBeGreaterThan(Date.now() + 9 * MINUTE_MS);
  });

  it('at once from many sides stores and charges it once', async () => {
    const { put, charged } = aTenant();
    const puts = await Promise.all(Array.from({ length: 20 }, () => put('all at once')));
    expect(puts.filter(({ kind }) => kind === 'new')).toHaveLength(1);
    expect(await charged()).toBe(11 + BLOB_OVERHEAD_BYTES);
  });

  it('stores it again where its content was lost', async () => {
    const { tenant, put, read, charged } = aTenant();
    const { blob } = await put('lost');
    const cost = await charged();
    await server.redis.del(keys.blob(tenant, blob));
    expect((await put('lost', { quotaBytes: cost })).kind).toBe('new');
    expect((await read(blob))?.toString()).toBe('lost');
    expect(await charged()).toBe(cost);
  });
});

describe('the quota', () => {
  it('refuses what would pass it, says how much is used, and stores nothing', async () => {
    const { put, read, charged } = aTenant();
    const quotaBytes = 2 * (100 + BLOB_OVERHEAD_BYTES);
    await put('a'.repeat(100), { quotaBytes });
    const refused = await put('b'.repeat(101), { quotaBytes });
    expect(refused).toMatchObject({ kind: 'over_quota', usedBytes: 100 + BLOB_OVERHEAD_BYTES });
    if (refused.kind === 'over_quota') {
      expect(refused.roomInMs).toBeGreaterThan(0);
      expect(refused.roomInMs).toBeLessThanOrEqual(MINUTE_MS);
    }
    expect(await read(refused.blob)).toBeNull();
    expect((await put('b'.repeat(100), { quotaBytes })).kind).toBe('new');
    expect(await charged()).toBe(quotaBytes);
  });

  it('does not count what is expired, however many there were', async () => {
    const { put, charged, gone } = aTenant();
    const many = Array.from({ length: 2_500 }, (_, at) => `${at}`.padStart(10, '.'));
    const quotaBytes = many.length * (10 + BLOB_OVERHEAD_BYTES);
    const puts = await Promise.all(many.map((text) => put(text, { lifeMs: 3_000, quotaBytes })));
    expect(puts.every(({ kind }) => kind === 'new')).toBe(true);
    await put(many[0] ?? '', { lifeMs: MINUTE_MS, quotaBytes });
    for (const { blob } of puts.slice(1)) await gone(blob);
    const large = quotaBytes - 2 * BLOB_OVERHEAD_BYTES - 10;
    expect((await put('x'.repeat(large), { quotaBytes })).kind).toBe('new');
    expect(await charged()).toBe(quotaBytes);
  });

  it('is each tenant’s own', async () => {
    const quotaBytes = 5 + BLOB_OVERHEAD_BYTES;
    expect((await aTenant().put('a bit', { quotaBytes })).kind).toBe('new');
    expect((await aTenant().put('a bit', { quotaBytes })).kind).toBe('new');
  });
});

describe('keeping blobs', () => {
  it('tells the bytes of each and which are unknown, in their order', async () => {
    const { put, keep } = aTenant();
    const one = await put('1');
    const three = await put('333');
    const unknown = await blobNameOf(Buffer.from('unknown'));
    expect(await keep([three.blob, unknown, one.blob])).toEqual([3, undefined, 1]);
  });

  it('lengthens their lives, and never shortens them', async () => {
    const { put, keep, find } = aTenant();
    const short = await put('short', { lifeMs: 2_000 });
    const long = await put('long', { lifeMs: 60 * MINUTE_MS });
    await keep([short.blob, long.blob], 10 * MINUTE_MS);
    const [first, second] = [await find(short.blob), await find(long.blob)];
    expect(first?.expiresAtMs).toBeGreaterThan(Date.now() + 9 * MINUTE_MS);
    expect(first?.expiresAtMs).toBeLessThan(Date.now() + 11 * MINUTE_MS);
    expect(second?.expiresAtMs).toBeGreaterThan(Date.now() + 59 * MINUTE_MS);
  });

  it('keeps their account for as long as they live', async () => {
    const { tenant, put, keep } = aTenant();
    const { blob } = await put('kept', { lifeMs: 1_000 });
    await keep([blob], 10 * MINUTE_MS);
    for (const key of [keys.tenantBlobs(tenant), keys.tenantBlobBytes(tenant)]) {
      expect(await server.redis.pttl(key)).toBeGreaterThan(9 * MINUTE_MS);
    }
  });
});
