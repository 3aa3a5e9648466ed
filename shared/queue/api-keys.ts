/**
 * API keys in Redis: of each a digest, never the key. A key that was revoked or has expired is kept for a while, so that
 * lists and audits can name it; then its record and its places in both lists are gone.
 */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { SCOPES, type Scope } from '../contract/policy.ts';
import { keys } from './keys.ts';
import { defineScript } from './script.ts';

/** How long a key is listed after it stopped being one. */
export const KEPT_MS = 30 * 24 * 3_600_000;
/** Records that one round trip reads, so that a long list holds up nobody. */
const READ_AT_ONCE = 500;

const isScope = (text: string): text is Scope => SCOPES.some((scope) => scope === text);

const moment = z.coerce.number().int();
const maybe = moment.optional().transform((ms) => ms ?? null);

const apiKeyRecord = z.object({
  tenant: z.string(),
  name: z.string(),
  // What another version of this server may have granted beside is nothing that this one could check.
  scopes: z.string().transform((text): readonly Scope[] => text.split(' ').filter(isScope)),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  createdAtMs: moment,
  expiresAtMs: maybe,
  revokedAtMs: maybe,
  lastUsedAtMs: maybe,
});

export interface ApiKeyRecord extends z.output<typeof apiKeyRecord> {
  readonly id: string;
}

/** Anything else under a key's name is no key. */
function parse(id: string, fields: Record<string, string>): ApiKeyRecord | undefined {
  const parsed = apiKeyRecord.safeParse(fields);
  return parsed.success ? { id, ...parsed.data } : undefined;
}

export const readApiKey = async (redis: Redis, id: string): Promise<ApiKeyRecord | undefined> =>
  parse(id, await redis.hgetall(keys.apiKey(id)));

/* KEYS record, all keys, tenant's keys, tenants; ARGV id, gone at ('+inf': never), tenant ('' where it stands in a file),
   now, then the fields */
const CREATE = defineScript(`
  if ARGV[3] ~= '' and redis.call('HEXISTS', KEYS[4], ARGV[3]) == 0 then return 0 end
  redis.call('HSET', KEYS[1], unpack(ARGV, 5))
  if ARGV[2] ~= '+inf' then redis.call('PEXPIREAT', KEYS[1], ARGV[2]) end
  for at = 2, 3 do
    redis.call('ZREMRANGEBYSCORE', KEYS[at], '-inf', ARGV[4])
    redis.call('ZADD', KEYS[at], ARGV[2], ARGV[1])
  end
  return 1
`);

export type FreshApiKey = Omit<ApiKeyRecord, 'revokedAtMs' | 'lastUsedAtMs'>;

/** Whether it was made: not, where its tenant is to stand in Redis and does not. */
export async function createApiKey(
  redis: Redis,
  { id, ...fresh }: FreshApiKey,
  { isTenantFixed }: { isTenantFixed: boolean },
): Promise<boolean> {
  const { tenant, expiresAtMs, scopes, ...rest } = fresh;
  const fields = {
    ...rest,
    tenant,
    scopes: scopes.join(' '),
    ...(expiresAtMs === null ? {} : { expiresAtMs }),
  };
  const made = await CREATE.run(
    redis,
    [keys.apiKey(id), keys.apiKeys(), keys.tenantApiKeys(tenant), keys.tenantRecords()],
    [
      id,
      expiresAtMs === null ? '+inf' : expiresAtMs + KEPT_MS,
      isTenantFixed ? '' : tenant,
      fresh.createdAtMs,
      ...Object.entries(fields).flat(),
    ],
  );
  return made === 1;
}

/** Lua: revokes a key, whose place in both lists then ends at `gone`; when it was revoked before, nothing changes. */
export const REVOKE_KEY = `
  local function revoke_key(record, all, own, id, now, gone)
    if redis.call('EXISTS', record) == 0 then return end
    if redis.call('HSETNX', record, 'revokedAtMs', now) == 0 then return end
    redis.call('PEXPIREAT', record, gone)
    redis.call('ZADD', all, gone, id)
    redis.call('ZADD', own, gone, id)
  end
`;

/* KEYS record, all keys, tenant's keys; ARGV id, now, gone at */
const REVOKE = defineScript(`${REVOKE_KEY}
  revoke_key(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3])
`);

/** The key as it stands then; undefined where there is none. */
export async function revokeApiKey(redis: Redis, id: string): Promise<ApiKeyRecord | undefined> {
  const record = await readApiKey(redis, id);
  if (record === undefined) return undefined;
  const nowMs = Date.now();
  await REVOKE.run(
    redis,
    [keys.apiKey(id), keys.apiKeys(), keys.tenantApiKeys(record.tenant)],
    [id, nowMs, nowMs + KEPT_MS],
  );
  return readApiKey(redis, id);
}

/** Those of a tenant, or of all; the newest first. */
export async function listApiKeys(
  redis: Redis,
  tenant: string | undefined,
): Promise<ApiKeyRecord[]> {
  const list = tenant === undefined ? keys.apiKeys() : keys.tenantApiKeys(tenant);
  await redis.zremrangebyscore(list, '-inf', Date.now());
  const ids = await redis.zrange(list, 0, -1);
  const found: ApiKeyRecord[] = [];
  for (let at = 0; at < ids.length; at += READ_AT_ONCE) {
    const some = ids.slice(at, at + READ_AT_ONCE);
    const records = await Promise.all(some.map((id) => readApiKey(redis, id)));
    found.push(...records.filter((record) => record !== undefined));
  }
  return found.sort(
    (one, other) => other.createdAtMs - one.createdAtMs || (one.id < other.id ? -1 : 1),
  );
}

/* KEYS record; ARGV now. A record that is gone is not to come back with nothing in it but this. */
const USED = defineScript(`
  if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'lastUsedAtMs', ARGV[1]) end
`);

export const markApiKeyUsed = (redis: Redis, id: string): Promise<unknown> =>
  USED.run(redis, [keys.apiKey(id)], [Date.now()]);
