/**
 * Blobs as callers see them: put under a digest, looked for, named by jobs. Whoever is not the owner of one sees nothing,
 * as if there were none.
 */
import type { Redis } from 'ioredis';
import { type BlobView, blobNameOf } from '../../shared/contract/blob.ts';
import type { JobSpec } from '../../shared/contract/spec.ts';
import { AppError } from '../../shared/errors.ts';
import { findBlob, keepBlobs, putBlob } from '../../shared/queue/blobs.ts';
import type { Owner } from './auth.ts';

const MIB = 1024 * 1024;
/** Blobs that are remembered to live long enough; the one that was told so first is forgotten first. */
const MAX_REMEMBERED = 10_000;
/** Where no blob expires within this, a client had better ask again than wait. */
const MAX_RETRY_AFTER_SECONDS = 3_600;

export interface NamingJob {
  readonly caller: Owner;
  readonly spec: JobSpec;
  /** From now until its last start can have begun. */
  readonly lastStartInMs: number;
}

export interface Blobs {
  put(caller: Owner, blob: string, content: Buffer): Promise<{ isNew: boolean; view: BlobView }>;
  find(caller: Owner, blob: string): Promise<BlobView | undefined>;
  /**
   * Refuses a job that names a blob which is not here, or that has no room for its blobs. Whatever it names lives on past
   * its last start, for half of COFFERDAM_BLOB_TTL_MS at least.
   */
  requireForJob(job: NamingJob): Promise<void>;
}

/** A blob that was found and told to live until then; undefined bytes when it was not there. */
interface Remembered {
  readonly untilMs: number;
  readonly bytes: Promise<number | undefined>;
}

export function createBlobs(options: {
  redis: Redis;
  ttlMs: number;
  quotaOf: (tenant: string) => number;
}): Blobs {
  const { redis, ttlMs, quotaOf } = options;
  /** By tenant and name, in the order in which they were told to live. */
  const remembered = new Map<string, Remembered>();

  const remember = (key: string, one: Remembered): void => {
    remembered.delete(key);
    remembered.set(key, one);
    const [oldest] = remembered.keys();
    if (remembered.size > MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
    const forget = (): void => {
      if (remembered.get(key) === one) remembered.delete(key);
    };
    one.bytes.then((bytes) => bytes === undefined && forget(), forget);
  };

  /**
   * Many jobs that name one blob cost one call: it is told to live for longer than the job at hand needs, and until half
   * of that surplus is used up nothing is asked. Calls that are under way are shared.
   */
  const bytesOf = (blobs: readonly string[], { caller, lastStartInMs }: NamingJob) => {
    const { tenant } = caller;
    const nowMs = Date.now();
    const neededMs = nowMs + lastStartInMs + ttlMs / 2;
    const keyOf = (blob: string): string => `${tenant} ${blob}`;
    const found = new Map<string, Remembered['bytes']>();
    for (const blob of blobs) {
      const known = remembered.get(keyOf(blob));
      if (known !== undefined && known.untilMs >= neededMs) found.set(blob, known.bytes);
    }
    const asked = blobs.filter((blob) => !found.has(blob));
    if (asked.length > 0) {
      const lifeMs = lastStartInMs + ttlMs;
      const answer = keepBlobs(redis, { tenant, blobs: asked, lifeMs });
      asked.forEach((blob, at) => {
        const bytes = answer.then((sizes) => sizes[at]);
        found.set(blob, bytes);
        remember(keyOf(blob), { untilMs: nowMs + lifeMs, bytes });
      });
    }
    return Promise.all(blobs.map((blob) => found.get(blob)));
  };

  return {
    async put({ tenant }, blob, content) {
      const came = await blobNameOf(content);
      if (came !== blob) {
        throw new AppError('BLOB_DIGEST_MISMATCH', {
          detail: `expected bytes with the digest ${blob}; came ${content.length} bytes with ${came}`,
        });
      }
      const quotaBytes = quotaOf(tenant);
      const done = await putBlob(redis, { tenant, blob, content, lifeMs: ttlMs, quotaBytes });
      if (done.kind === 'over_quota') {
        throw overQuota({ ...done, quotaBytes, bytes: content.length });
      }
      return { isNew: done.kind === 'new', view: viewOf(blob, content.length, done.expiresAtMs) };
    },
    async find({ tenant }, blob) {
      const found = await findBlob(redis, tenant, blob);
      return found && viewOf(blob, found.bytes, found.expiresAtMs);
    },
    async requireForJob(job) {
      const { files } = job.spec;
      const names = new Set(files.flatMap((file) => ('blob' in file ? [file.blob] : [])));
      if (names.size === 0) return;
      const blobs = [...names];
      const found = await bytesOf(blobs, job);
      const sizes = new Map(blobs.map((blob, at) => [blob, found[at]]));
      refuseUnknown(files, sizes);
      refuseWhatCannotFit(job.spec, sizes);
    },
  };
}

const viewOf = (blob: string, bytes: number, expiresAtMs: number): BlobView => ({
  blob,
  bytes,
  expiresAt: new Date(expiresAtMs).toISOString(),
});

function overQuota(of: {
  usedBytes: number;
  quotaBytes: number;
  bytes: number;
  roomInMs: number;
}): AppError {
  const seconds = Math.min(Math.ceil(of.roomInMs / 1000), MAX_RETRY_AFTER_SECONDS);
  return new AppError('BLOB_QUOTA_EXCEEDED', {
    detail: `expected at most ${of.quotaBytes} bytes of blobs in all; came ${of.bytes} beside ${of.usedBytes}`,
    retryAfterSeconds: Math.max(1, seconds),
  });
}

type Sizes = ReadonlyMap<string, number | undefined>;

function refuseUnknown(files: JobSpec['files'], sizes: Sizes): void {
  // The caller's files come first in a spec, in their order.
  files.forEach((file, at) => {
    if (!('blob' in file) || sizes.get(file.blob) !== undefined) return;
    const field = `files.${at}.blob`;
    const detail = `${field}: expected a blob that was put and is not expired; came ${file.blob}`;
    throw new AppError('BLOB_UNKNOWN', { field, detail });
  });
}

function refuseWhatCannotFit({ files, limits }: JobSpec, sizes: Sizes): void {
  const bytesIn = (file: JobSpec['files'][number]): number =>
    'blob' in file ? (sizes.get(file.blob) ?? 0) : Buffer.byteLength(file.content, file.encoding);
  const bytes = files.reduce((sum, file) => sum + bytesIn(file), 0);
  const room = limits.workspaceMb * MIB;
  if (bytes <= room) return;
  throw new AppError('LIMIT_ABOVE_CEILING', {
    field: 'files',
    detail: `files: expected at most ${room} bytes (limits.workspaceMb); came ${bytes}`,
  });
}
