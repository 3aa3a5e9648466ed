/** The settings of blobs: how large, how many, how long, and how much of them a worker keeps in memory. */
import type { z } from 'zod';
import { integer, type Setting, setting } from './setting.ts';

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;

/** One command carries a whole blob, and on its connection all others wait behind it. */
const MOST_BYTES = 32 * MIB;

export const BLOB_SETTINGS = {
  COFFERDAM_MAX_BLOB_BYTES: setting(
    String(16 * MIB),
    integer(1024, MOST_BYTES),
    'Largest blob, in bytes.',
  ),
  COFFERDAM_BLOB_QUOTA_BYTES: setting(
    String(1024 * MIB),
    integer(1024, 1024 * 1024 * MIB),
    'Bytes of all blobs of one tenant together; Redis holds them in memory.',
  ),
  COFFERDAM_BLOB_TTL_MS: setting(
    String(24 * HOUR_MS),
    integer(1_000, 30 * 24 * HOUR_MS),
    'How long a blob is kept after it was put, or after the last start of a job that names it.',
  ),
  COFFERDAM_BLOB_CACHE_BYTES: setting(
    String(256 * MIB),
    integer(0, 1024 * 1024 * MIB),
    'Bytes of blobs that one worker keeps in memory for further jobs.',
  ),
} as const satisfies Record<string, Setting>;

type Parsed = {
  [Name in keyof typeof BLOB_SETTINGS]: z.output<(typeof BLOB_SETTINGS)[Name]['schema']>;
};

export interface BlobSettings {
  readonly maxBytes: number;
  readonly quotaBytes: number;
  readonly ttlMs: number;
  readonly cacheBytes: number;
}

export const blobSettings = (is: Parsed): BlobSettings => ({
  maxBytes: is.COFFERDAM_MAX_BLOB_BYTES,
  quotaBytes: is.COFFERDAM_BLOB_QUOTA_BYTES,
  ttlMs: is.COFFERDAM_BLOB_TTL_MS,
  cacheBytes: is.COFFERDAM_BLOB_CACHE_BYTES,
});
