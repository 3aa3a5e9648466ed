import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Blobs, createBlobs } from '../../services/api/blobs.ts';
import { blobNameOf } from '../../shared/contract/blob.ts';
import type { SpecFile } from '../../shared/contract/spec.ts';
import { BLOB_OVERHEAD_BYTES } from '../../shared/queue/blobs.ts';
import { keys } from '../../shared/queue/keys.ts';
import { eventually, startRedis, type TestRedis } from '../shared/queue/redis.ts';
import { aSpec } from '../worker/spec.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;
const TTL_MS = 2 * HOUR_MS;
const SETTINGS = { ttlMs: TTL_MS, quotaOf: () => 100 * MIB };

let tenants = 0;
/** Blobs of one API process, and one tenant of it. */
function anApi({ quotaBytes = 100 * MIB, ...over }: { ttlMs?: number; quotaBytes?: number } = {}) {
  const quotaOf = () => quotaBytes;
  const blobs = createBlobs({ redis: server.redis, ...SETTINGS, ...over, quotaOf });
  const caller = { tenant: `t${tenants++}` };
  const nameOf = (content: Buffer | string) => blobNameOf(Buffer.from(content as string));
  return {
    blobs,
    caller,
    nameOf,
    async put(content: Buffer | string): Promise<string> {
      const blob = await nameOf(content);
      await blobs.put(caller, blob, Buffer.from(content as string));
      return blob;
    },
    leftMs: (blob: string) => server.redis.pttl(keys.blob(caller.tenant, blob)),
  };
}

const naming = (...blobs: string[]): SpecFile[] =>
  blobs.map((blob, at) => ({ path: `f${at}`, blob, executable: false }));

const job = (
  caller: { tenant: string },
  files: SpecFile[],
  lastStartInMs = HOUR_MS,
): Parameters<Blobs['requireForJob']>[0] => ({ caller, spec: aSpec({ files }), lastStartInMs });

/** How many scripts Redis runs meanwhile. */
async function scriptsDuring(act: () => Promise<unknown>): Promise<number> {
  const count = async (): Promise<number> => {
    const stats = await server.redis.info('commandstats');
    return Number(stats.match(/cmdstat_evalsha:calls=(\d+)/)?.[1] ?? 0);
  };
  const before = await count();
  await act();
  return (await count()) - before;
}

describe('putting a blob', () => {
  it('answers what it is and how long it stays, and says when it was there', async () => {
    const { blobs, caller, nameOf } = anApi();
    const content = Buffer.from('content');
    const blob = await nameOf(content);
    const first = await blobs.put(caller, blob, content);
    expect(first).toMatchObject({ isNew: true, view: { blob, bytes: 7 } });
    const leftMs = Date.parse(first.view.expiresAt) - Date.now();
    expect(leftMs).toBeGreaterThan(TTL_MS - 60_000);
    expect(leftMs).toBeLessThan(TTL_MS + 60_000);
    expect(await blobs.put(caller, blob, content)).toMatchObject({ isNew: false, view: { blob } });
  });

  it('under the digest of other bytes is refused with both, and stores nothing', async () => {
    const { blobs, caller, nameOf } = anApi();
    const expected = await nameOf('expected');
    const put = blobs.put(caller, expected, Buffer.from('came'));
    await expect(put).rejects.toMatchObject({
      code: 'BLOB_DIGEST_MISMATCH',
      message: `expected bytes with the digest ${expected}; came 4 bytes with ${await nameOf('came')}`,
    });
    expect(await blobs.find(caller, expected)).toBeUndefined();
  });

  it('past the quota is refused with what is used and when to come back', async () => {
    const quotaBytes = 20 + 2 * BLOB_OVERHEAD_BYTES;
    const { put, nameOf, blobs, caller } = anApi({ quotaBytes, ttlMs: 30_000 });
    await put('first');
    const large = Buffer.alloc(16);
    const refused = await blobs.put(caller, await nameOf(large), large).catch((error) => error);
    expect(refused).toMatchObject({
      code: 'BLOB_QUOTA_EXCEEDED',
      message: `expected at most ${quotaBytes} bytes of blobs in all; came 16 beside ${5 + BLOB_OVERHEAD_BYTES}`,
    });
    expect(refused.retryAfterSeconds).toBeGreaterThan(0);
    expect(refused.retryAfterSeconds).toBeLessThanOrEqual(30);
  });
});

describe('a job that names blobs', () => {
  it('is let through when all are there, and one without blobs asks nobody', async () => {
    const { blobs, caller, put } = anApi();
    const files = naming(await put('a'), await put('b'));
    await expect(blobs.requireForJob(job(caller, files))).resolves.toBeUndefined();
    expect(await scriptsDuring(() => blobs.requireForJob(job(caller, [])))).toBe(0);
  });

  it('is refused with the field of the one that is not there', async () => {
    const { blobs, caller, put, nameOf } = anApi();
    const unknown = await nameOf('unknown');
    const text = { path: 't', content: '', encoding: 'utf8', executable: false } as const;
    const files = [text, ...naming(await put('a'), unknown)];
    await expect(blobs.requireForJob(job(caller, files))).rejects.toMatchObject({
      code: 'BLOB_UNKNOWN',
      field: 'files.2.blob',
      message: `files.2.blob: expected a blob that was put and is not expired; came ${unknown}`,
    });
  });

  it('is refused for a blob of another tenant as for one that is not there', async () => {
    const { blobs, put } = anApi();
    const files = naming(await put('a'));
    const refused = blobs.requireForJob(job({ tenant: 'stranger' }, files));
    await expect(refused).rejects.toMatchObject({ code: 'BLOB_UNKNOWN', field: 'files.0.blob' });
  });

  it('is let through as soon as the blob is put that was missing', async () => {
    const { blobs, caller, put, nameOf } = anApi();
    const files = naming(await nameOf('late'));
    await expect(blobs.requireForJob(job(caller, files))).rejects.toThrow('files.0.blob');
    await put('late');
    await expect(blobs.requireForJob(job(caller, files))).resolves.toBeUndefined();
  });

  it('needs room in its workspace for blobs and files together, each as often as it is laid out', async () => {
    const { blobs, caller, put } = anApi();
    const half = await put(Buffer.alloc(32 * MIB, 'x'));
    const workspaceMb = aSpec().limits.workspaceMb;
    expect(workspaceMb).toBe(64);
    await blobs.requireForJob(job(caller, naming(half, half)));
    const byte = { path: 'b', content: 'eA==', encoding: 'base64', executable: false } as const;
    const over = blobs.requireForJob(job(caller, [...naming(half, half), byte]));
    await expect(over).rejects.toMatchObject({
      code: 'LIMIT_ABOVE_CEILING',
      field: 'files',
      message: `files: expected at most ${64 * MIB} bytes (limits.workspaceMb); came ${64 * MIB + 1}`,
    });
  });

  it('keeps them alive past its last start', async () => {
    const { blobs, caller, put, leftMs } = anApi();
    const blob = await put('a');
    await blobs.requireForJob(job(caller, naming(blob), 10 * HOUR_MS));
    expect(await leftMs(blob)).toBeGreaterThan(10 * HOUR_MS + TTL_MS / 2);
  });

  it('asks again for a job that starts later than what is known to live', async () => {
    const { blobs, caller, put, leftMs } = anApi();
    const blob = await put('a');
    await blobs.requireForJob(job(caller, naming(blob), HOUR_MS));
    await blobs.requireForJob(job(caller, naming(blob), 50 * HOUR_MS));
    expect(await leftMs(blob)).toBeGreaterThan(50 * HOUR_MS);
  });

  it('costs one call to Redis, and so do ten thousand of them, at once or in turn', async () => {
    const { blobs, caller, put } = anApi();
    const files = naming(await put('a'), await put('b'));
    const calls = await scriptsDuring(async () => {
      const some = Array.from({ length: 5_000 }, () => blobs.requireForJob(job(caller, files)));
      await Promise.all(some);
      for (let at = 0; at < 5_000; at++) await blobs.requireForJob(job(caller, files));
    });
    expect(calls).toBe(1);
  });

  it('that found Redis away leaves nothing behind: the next one asks', async () => {
    const { caller, put } = anApi();
    const files = naming(await put('a'));
    const redis = await server.connect('request');
    redis.disconnect();
    await eventually('it being away', () => redis.status === 'end');
    const blobs = createBlobs({ redis, ...SETTINGS });
    await expect(blobs.requireForJob(job(caller, files))).rejects.toThrow();
    await redis.connect();
    await expect(blobs.requireForJob(job(caller, files))).resolves.toBeUndefined();
  });
});
