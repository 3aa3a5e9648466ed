/**
 * Blobs in Redis: bytes under their digest, each tenant's apart, with a time to live and an account of the room they
 * take. Times are told by the clock of Redis alone, which is the one that makes keys expire: callers say how long, never
 * until when. The account of a tenant expires with the last of its blobs.
 */
import type { Redis } from 'ioredis';
import { keys } from './keys.ts';
import { defineScript } from './script.ts';

/** What Redis keeps beside the content of a blob, about; without it empty blobs would cost nothing. */
export const BLOB_OVERHEAD_BYTES = 512;
/** Expired blobs that one call takes out of the account: a script holds up everybody. */
const PRUNED_AT_ONCE = 1_000;

export interface StoredBlob {
  readonly bytes: number;
  readonly expiresAtMs: number;
}

export type BlobPut =
  | { readonly kind: 'new' | 'kept'; readonly expiresAtMs: number }
  | {
      readonly kind: 'over_quota';
      /** What the tenant's blobs are charged now. */
      readonly usedBytes: number;
      /** Until the first of them expires. */
      readonly roomInMs: number;
    };

/** Both scripts: `now`, and a longer life for a blob. */
const LIFE = `
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local function keep(key, blob, lifeMs)
    local until_ms = math.max(now + lifeMs, tonumber(redis.call('ZSCORE', KEYS[1], blob) or 0))
    redis.call('PEXPIREAT', key, until_ms)
    redis.call('ZADD', KEYS[1], until_ms, blob)
    return until_ms
  end
  local function keep_account()
    local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
    if last then
      redis.call('PEXPIREAT', KEYS[1], last)
      redis.call('PEXPIREAT', KEYS[2], last)
    end
  end
`;

/* KEYS tenant's blobs, their bytes, blob */
const PUT = defineScript(`${LIFE}
  local blob, content, lifeMs, quota = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
  local overhead, atOnce = tonumber(ARGV[5]), tonumber(ARGV[6])
  local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now, 'LIMIT', 0, atOnce)
  for _, old in ipairs(gone) do
    local bytes = redis.call('HGET', KEYS[2], old)
    if bytes then redis.call('HINCRBY', KEYS[2], 'total', -(bytes + overhead)) end
    redis.call('HDEL', KEYS[2], old)
  end
  if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
  local isCounted = redis.call('HEXISTS', KEYS[2], blob) == 1
  local kind = 'kept'
  if not isCounted or redis.call('EXISTS', KEYS[3]) == 0 then
    local used = tonumber(redis.call('HGET', KEYS[2], 'total') or 0)
    local cost = isCounted and 0 or #content + overhead
    if used + cost > quota then
      if #gone == atOnce then return {'again'} end
      local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
      return {'over_quota', used, math.max(0, tonumber(first or now) - now)}
    end
    redis.call('SET', KEYS[3], content)
    redis.call('HSET', KEYS[2], blob, #content)
    redis.call('HINCRBY', KEYS[2], 'total', cost)
    kind = 'new'
  end
  local until_ms = keep(KEYS[3], blob, lifeMs)
  keep_account()
  return {kind, until_ms}
`);

/** Stores content under its name, or extends the life of what is there. The caller has compared name and content. */
export async function putBlob(
  redis: Redis,
  put: { tenant: string; blob: string; content: Buffer; lifeMs: number; quotaBytes: number },
): Promise<BlobPut> {
  const { tenant, blob } = put;
  const touched = [keys.tenantBlobs(tenant), keys.tenantBlobBytes(tenant), keys.blob(tenant, blob)];
  const limits = [put.lifeMs, put.quotaBytes, BLOB_OVERHEAD_BYTES, PRUNED_AT_ONCE];
  const [kind, number = 0, roomInMs = 0] = (await PUT.run(redis, touched, [
    blob,
    put.content,
    ...limits,
  ])) as [BlobPut['kind'] | 'again', number?, number?];
  switch (kind) {
    case 'again':
      return putBlob(redis, put);
    case 'over_quota':
      return { kind, usedBytes: number, roomInMs };
    default:
      return { kind, expiresAtMs: number };
  }
}

/* KEYS tenant's blobs, their bytes, blobs; ARGV life, then the blobs by name */
const KEEP = defineScript(`${LIFE}
  local found = {}
  for at = 3, #KEYS do
    local blob = ARGV[at - 1]
    local bytes = redis.call('HGET', KEYS[2], blob)
    found[at - 2] = -1
    if bytes and redis.call('EXISTS', KEYS[at]) == 1 then
      keep(KEYS[at], blob, tonumber(ARGV[1]))
      found[at - 2] = tonumber(bytes)
    end
  end
  keep_account()
  return found
`);

/** Extends the life of blobs to so much from now at least; the bytes of each, or undefined where there is none. */
export async function keepBlobs(
  redis: Redis,
  { tenant, blobs, lifeMs }: { tenant: string; blobs: readonly string[]; lifeMs: number },
): Promise<(number | undefined)[]> {
  const found = (await KEEP.run(
    redis,
    [
      keys.tenantBlobs(tenant),
      keys.tenantBlobBytes(tenant),
      ...blobs.map((blob) => keys.blob(tenant, blob)),
    ],
    [lifeMs, ...blobs],
  )) as number[];
  return found.map((bytes) => (bytes < 0 ? undefined : bytes));
}

/** What is known of a blob, without its content. */
export async function findBlob(
  redis: Redis,
  tenant: string,
  blob: string,
): Promise<StoredBlob | undefined> {
  const key = keys.blob(tenant, blob);
  const [bytes, leftMs] = await Promise.all([redis.strlen(key), redis.pttl(key)]);
  return leftMs < 0 ? undefined : { bytes, expiresAtMs: Date.now() + leftMs };
}

/** The content of a blob; null where there is none. */
export const readBlob = (redis: Redis, tenant: string, blob: string): Promise<Buffer | null> =>
  redis.getBuffer(keys.blob(tenant, blob));
