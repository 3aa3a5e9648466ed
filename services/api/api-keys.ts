/**
 * API keys: made, listed, revoked, and looked up on the way of each request. A look-up is answered from memory for less
 * than half a second, so that a revocation is in force on every process within one; what is unknown is remembered as
 * well, apart, so that a flood of bad keys neither reaches Redis each time nor drives out the good ones.
 */
import type { Redis } from 'ioredis';
import type { ApiKeyView, MadeApiKey, NewApiKey } from '../../shared/contract/api-key.ts';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import {
  type ApiKeyRecord,
  createApiKey,
  listApiKeys,
  markApiKeyUsed,
  readApiKey,
  revokeApiKey,
} from '../../shared/queue/api-keys.ts';
import { type KeyLookup, makeKey } from './auth.ts';
import type { LiveTenants } from './tenants.ts';

/** From when the reading was sent, by the clock that is never set. */
const FRESH_MS = 400;
/** Keys that are remembered, of those that are there and of those that are not. */
export const MAX_REMEMBERED = 10_000;
const USE_WRITTEN_EVERY_MS = 30_000;

export interface ApiKeys extends KeyLookup {
  make(wanted: NewApiKey): Promise<MadeApiKey>;
  /** Those of a tenant, or of all; the newest first. */
  list(tenant: string | undefined): Promise<ApiKeyView[]>;
  /** Revoking it again changes nothing. */
  revoke(id: string): Promise<ApiKeyView>;
  /** How much is remembered; never above its bounds. */
  remembered(): { known: number; unknown: number };
}

export function createApiKeys(options: {
  redis: Redis;
  tenants: Pick<LiveTenants, 'get' | 'isFixed' | 'refresh'>;
  log: Log;
}): ApiKeys {
  const { redis, tenants, log } = options;
  const lookups = createLookups(async (id) => {
    const record = await readApiKey(redis, id);
    if (record === undefined || tenants.get(record.tenant)) return record;
    // A tenant may be younger than what is known here of them; without one a key opens nothing.
    await tenants.refresh();
    return tenants.get(record.tenant) && record;
  });
  const writtenMs = new Map<string, number>();

  return {
    find: lookups.find,
    remembered: lookups.remembered,
    used(id) {
      const nowMs = performance.now();
      if (nowMs - (writtenMs.get(id) ?? -USE_WRITTEN_EVERY_MS) < USE_WRITTEN_EVERY_MS) return;
      remember(writtenMs, id, nowMs);
      markApiKeyUsed(redis, id).catch((error: unknown) =>
        log.debug({ err: error, keyId: id }, 'last use not written'),
      );
    },
    async make({ tenant, name, scopes, expiresAt }) {
      const { id, key, digest } = makeKey();
      const createdAtMs = Date.now();
      const expiresAtMs = expiresAt === null ? null : Date.parse(expiresAt);
      if (expiresAtMs !== null && expiresAtMs <= createdAtMs) {
        throw new AppError('REQUEST_INVALID', {
          field: 'expiresAt',
          detail: `expiresAt: expected a time after ${iso(createdAtMs)}; came ${expiresAt}`,
        });
      }
      const own = { tenant, name, scopes: [...new Set(scopes)] };
      const fresh = { id, digest, ...own, createdAtMs, expiresAtMs };
      const isTenantFixed = tenants.isFixed(tenant);
      if (!(await createApiKey(redis, fresh, { isTenantFixed }))) {
        const detail = `tenant: expected one that /v1/tenants lists; came ${tenant}`;
        throw new AppError('TENANT_UNKNOWN', { field: 'tenant', detail });
      }
      return { ...viewOf({ ...fresh, revokedAtMs: null, lastUsedAtMs: null }), key };
    },
    async list(tenant) {
      return (await listApiKeys(redis, tenant)).map(viewOf);
    },
    async revoke(id) {
      const revoked = await revokeApiKey(redis, id);
      lookups.forget(id);
      if (revoked === undefined) throw new AppError('NOT_FOUND');
      return viewOf(revoked);
    },
  };
}

interface Lookup {
  readonly sentMs: number;
  readonly record: Promise<ApiKeyRecord | undefined>;
}

function createLookups(read: (id: string) => Promise<ApiKeyRecord | undefined>) {
  const known = new Map<string, Lookup>();
  const unknown = new Map<string, Lookup>();
  /** Of those under way; bounded by the requests that are. */
  const reading = new Map<string, Lookup>();

  const settle = (id: string, lookup: Lookup, into: Map<string, Lookup> | undefined): void => {
    // Forgotten, or overtaken by a younger one.
    if (reading.get(id) !== lookup) return;
    reading.delete(id);
    known.delete(id);
    unknown.delete(id);
    if (into !== undefined) remember(into, id, lookup);
  };

  return {
    find(id: string): Promise<ApiKeyRecord | undefined> {
      const nowMs = performance.now();
      const before = known.get(id) ?? unknown.get(id);
      const isFresh = (one: Lookup | undefined): one is Lookup =>
        one !== undefined && nowMs - one.sentMs < FRESH_MS;
      if (isFresh(before)) return before.record;
      const underWay = reading.get(id);
      // One that Redis is late to answer may have been read before a revocation that is to be in force by now.
      if (isFresh(underWay)) return underWay.record;
      const lookup: Lookup = { sentMs: nowMs, record: read(id) };
      reading.set(id, lookup);
      lookup.record.then(
        (record) => settle(id, lookup, record === undefined ? unknown : known),
        () => settle(id, lookup, undefined),
      );
      return lookup.record;
    },
    forget(id: string): void {
      for (const map of [known, unknown, reading]) map.delete(id);
    },
    remembered: () => ({ known: known.size, unknown: unknown.size }),
  };
}

/** As the youngest; the oldest goes when there are too many. */
function remember<Value>(map: Map<string, Value>, id: string, value: Value): void {
  map.delete(id);
  map.set(id, value);
  const [oldest] = map.keys();
  if (map.size > MAX_REMEMBERED && oldest !== undefined) map.delete(oldest);
}

const iso = (ms: number): string => new Date(ms).toISOString();
const isoOrNull = (ms: number | null): string | null => (ms === null ? null : iso(ms));

const viewOf = (record: ApiKeyRecord): ApiKeyView => ({
  id: record.id,
  tenant: record.tenant,
  name: record.name,
  scopes: [...record.scopes],
  createdAt: iso(record.createdAtMs),
  expiresAt: isoOrNull(record.expiresAtMs),
  revokedAt: isoOrNull(record.revokedAtMs),
  lastUsedAt: isoOrNull(record.lastUsedAtMs),
});
