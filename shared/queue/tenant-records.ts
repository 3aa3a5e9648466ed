/**
 * Tenants that were set over HTTP, in Redis: one hash, and a revision that each change moves, so that whoever follows
 * reads the hash only when it has changed.
 */
import type { Redis } from 'ioredis';
import { type TenantSettings, tenantSettings } from '../contract/tenant.ts';
import { KEPT_MS, REVOKE_KEY } from './api-keys.ts';
import { keys } from './keys.ts';
import { defineScript } from './script.ts';

export interface TenantRecords {
  readonly revision: string;
  readonly settings: ReadonlyMap<string, TenantSettings>;
}

/** All of them; undefined where nothing has changed since that revision. */
export async function readTenantRecords(
  redis: Redis,
  since: string | undefined,
): Promise<TenantRecords | undefined> {
  // In this order: what changes in between is read twice, and never missed.
  const revision = (await redis.get(keys.tenantsRevision())) ?? '';
  if (revision === since) return undefined;
  const fields = await redis.hgetall(keys.tenantRecords());
  const settings = new Map<string, TenantSettings>();
  for (const [name, text] of Object.entries(fields)) {
    const parsed = parse(text);
    if (parsed !== undefined) settings.set(name, parsed);
  }
  return { revision, settings };
}

/** Anything else in the hash is no tenant. */
function parse(text: string): TenantSettings | undefined {
  try {
    return tenantSettings.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/* KEYS tenants, revision; ARGV name, settings */
const SET = defineScript(`
  redis.call('INCR', KEYS[2])
  return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
`);

/** Whether it is new. */
export const setTenant = async (
  redis: Redis,
  name: string,
  settings: TenantSettings,
): Promise<boolean> =>
  (await SET.run(
    redis,
    [keys.tenantRecords(), keys.tenantsRevision()],
    [name, JSON.stringify(settings)],
  )) === 1;

/* KEYS tenants, revision, all keys, tenant's keys; ARGV name, now, gone at, what a key's record is named before its id */
const REMOVE = defineScript(`${REVOKE_KEY}
  if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
  redis.call('INCR', KEYS[2])
  for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
    revoke_key(ARGV[4] .. id, KEYS[3], KEYS[4], id, ARGV[2], ARGV[3])
  end
  return 1
`);

/** Removes a tenant and revokes its keys, both or none; false where there is none by that name. */
export async function removeTenant(redis: Redis, name: string): Promise<boolean> {
  const nowMs = Date.now();
  const removed = await REMOVE.run(
    redis,
    [keys.tenantRecords(), keys.tenantsRevision(), keys.apiKeys(), keys.tenantApiKeys(name)],
    [name, nowMs, nowMs + KEPT_MS, keys.apiKey('')],
  );
  return removed === 1;
}
