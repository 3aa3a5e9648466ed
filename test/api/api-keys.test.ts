import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ApiKeys, createApiKeys, MAX_REMEMBERED } from '../../services/api/api-keys.ts';
import { type Authenticate, createAuthenticate, makeKey } from '../../services/api/auth.ts';
import { createTenants, type LiveTenants } from '../../services/api/tenants.ts';
import { readTenants } from '../../shared/config/tenants.ts';
import type { NewApiKey } from '../../shared/contract/api-key.ts';
import { tenantSettings } from '../../shared/contract/tenant.ts';
import { isStoreFailure } from '../../shared/queue/connection.ts';
import { keys } from '../../shared/queue/keys.ts';
import {
  eventually,
  silent,
  startRedis,
  type TestRedis,
  withRedis,
} from '../shared/queue/redis.ts';

const IN_FORCE_WITHIN_MS = 1_000;
const FIXED = readTenants(undefined, 100);
const SETTINGS = tenantSettings.parse({});

interface Process {
  readonly tenants: LiveTenants;
  readonly apiKeys: ApiKeys;
  readonly authenticate: Authenticate;
  /** Look-ups that reached Redis. */
  reads(): number;
}

/** What one API process has, on a connection of its own. */
async function startProcess(store: TestRedis): Promise<Process> {
  const redis = await store.connect('request');
  let reads = 0;
  const hgetall = redis.hgetall.bind(redis);
  Object.assign(redis, {
    hgetall(key: string) {
      if (key.startsWith(keys.apiKey(''))) reads++;
      return hgetall(key);
    },
  });
  const tenants = createTenants({ redis, fixed: FIXED, maxOpenJobs: 100, log: silent });
  await tenants.start();
  const apiKeys = createApiKeys({ redis, tenants, log: silent });
  const key = 'k'.repeat(40);
  const authenticate = createAuthenticate({ key, tenants: FIXED, apiKeys });
  return { tenants, apiKeys, authenticate, reads: () => reads };
}

let store: TestRedis;
let one: Process;
let other: Process;
beforeAll(async () => {
  store = await startRedis();
});
afterAll(() => store.stop());
beforeEach(async () => {
  await store.redis.flushall();
  [one, other] = await Promise.all([startProcess(store), startProcess(store)]);
});
afterEach(() => {
  for (const { tenants } of [one, other]) tenants.stop();
});

const wanted = (over: Partial<NewApiKey> = {}): NewApiKey => ({
  tenant: 'default',
  name: 'user:ann@example.com',
  scopes: ['exec:run'],
  expiresAt: null,
  ...over,
});
const letsIn = async ({ authenticate }: Process, key: string): Promise<boolean> => {
  try {
    await authenticate(`Bearer ${key}`);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
    return false;
  }
};
const untilRefusedBy = (process: Process, key: string): Promise<void> =>
  eventually('the key is refused', async () => !(await letsIn(process, key)), IN_FORCE_WITHIN_MS);

describe('a key', () => {
  it('works on every process from the moment it is made', async () => {
    const { key, id } = await one.apiKeys.make(wanted());
    expect(await other.authenticate(`Bearer ${key}`)).toMatchObject({ grant: id });
    expect(await one.authenticate(`Bearer ${key}`)).toMatchObject({ grant: id });
  });

  it('is nowhere in Redis, nor is its secret', async () => {
    const { key } = await one.apiKeys.make(wanted());
    const stored = await store.redis.hgetall((await store.redis.keys('*api-key:*'))[0] ?? '');
    expect(stored.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(JSON.stringify(stored)).not.toContain(key.slice(21));
  });

  it('that was revoked is refused by every process within a second, though all of them use it', async () => {
    const { key, id } = await one.apiKeys.make(wanted());
    for (const process of [one, other]) expect(await letsIn(process, key)).toBe(true);
    const revoked = await one.apiKeys.revoke(id);
    expect(revoked.revokedAt).not.toBeNull();
    expect(await letsIn(one, key)).toBe(false);
    await untilRefusedBy(other, key);
  });

  it('revoked again keeps the time of the first', async () => {
    const { id } = await one.apiKeys.make(wanted());
    const first = await one.apiKeys.revoke(id);
    expect(await other.apiKeys.revoke(id)).toEqual(first);
  });

  it('expires while it is remembered', async () => {
    const expiresAt = new Date(Date.now() + 250).toISOString();
    const { key } = await one.apiKeys.make(wanted({ expiresAt }));
    expect(await letsIn(one, key)).toBe(true);
    await untilRefusedBy(one, key);
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expiresAt));
  });

  it('that would expire before it is made is refused', async () => {
    const making = one.apiKeys.make(wanted({ expiresAt: '2020-01-01T00:00:00Z' }));
    await expect(making).rejects.toMatchObject({ code: 'REQUEST_INVALID', field: 'expiresAt' });
  });

  it('of a tenant that there is not is not made', async () => {
    const making = one.apiKeys.make(wanted({ tenant: 'nobody' }));
    await expect(making).rejects.toMatchObject({ code: 'TENANT_UNKNOWN', field: 'tenant' });
    expect(await store.redis.keys('*api-key*')).toEqual([]);
  });

  it('of a tenant that was just made finds it known on the other process', async () => {
    await one.tenants.set('young', SETTINGS);
    const { key } = await one.apiKeys.make(wanted({ tenant: 'young' }));
    expect(await other.authenticate(`Bearer ${key}`)).toMatchObject({ tenant: 'young' });
    expect(other.tenants.get('young')).toMatchObject({ maxOpenJobs: 100 });
  });

  it('goes with its tenant, on every process, and does not come back with its name', async () => {
    await one.tenants.set('short', SETTINGS);
    const { key, id } = await one.apiKeys.make(wanted({ tenant: 'short' }));
    expect(await letsIn(other, key)).toBe(true);
    await one.tenants.remove('short');
    await untilRefusedBy(other, key);
    await one.tenants.set('short', SETTINGS);
    expect(await letsIn(one, key)).toBe(false);
    expect((await one.apiKeys.list('short'))[0]).toMatchObject({
      id,
      revokedAt: expect.any(String),
    });
  });

  it('whose record is damaged opens nothing', async () => {
    const { key, id } = await one.apiKeys.make(wanted());
    await store.redis.hset(keys.apiKey(id), 'expiresAtMs', 'never');
    expect(await letsIn(other, key)).toBe(false);
  });
});

describe('the list', () => {
  it('has the keys of a tenant or of all, the newest first, and no digest', async () => {
    await one.tenants.set('acme', SETTINGS);
    const first = await one.apiKeys.make(wanted({ name: 'a' }));
    await new Promise((resolve) => setTimeout(resolve, 2));
    const second = await one.apiKeys.make(wanted({ name: 'b', tenant: 'acme' }));
    const all = await other.apiKeys.list(undefined);
    expect(all.map(({ id }) => id)).toEqual([second.id, first.id]);
    expect((await other.apiKeys.list('acme')).map(({ id }) => id)).toEqual([second.id]);
    expect(Object.keys(all[0] ?? {}).sort()).toEqual([
      'createdAt',
      'expiresAt',
      'id',
      'lastUsedAt',
      'name',
      'revokedAt',
      'scopes',
      'tenant',
    ]);
  });

  it('keeps a revoked key for thirty days', async () => {
    const { id } = await one.apiKeys.make(wanted());
    await one.apiKeys.revoke(id);
    expect(await one.apiKeys.list(undefined)).toHaveLength(1);
    const days = (await store.redis.pttl(keys.apiKey(id))) / (24 * 3_600_000);
    expect(days).toBeGreaterThan(29.9);
    expect(days).toBeLessThanOrEqual(30);
    expect(Number(await store.redis.zscore(keys.apiKeys(), id))).toBeGreaterThan(Date.now());
    await store.redis.zadd(keys.apiKeys(), Date.now() - 1, id);
    expect(await one.apiKeys.list(undefined)).toEqual([]);
    expect(await store.redis.zcard(keys.apiKeys())).toBe(0);
  });

  it('tells when a key was last used, which is written once for many uses', async () => {
    const { key, id } = await one.apiKeys.make(wanted());
    const lastUsed = async () => (await one.apiKeys.list(undefined))[0]?.lastUsedAt ?? null;
    expect(await lastUsed()).toBeNull();
    const before = Date.now();
    await letsIn(one, key);
    await eventually('the use is written', async () => (await lastUsed()) !== null);
    expect(Date.parse((await lastUsed()) ?? '')).toBeGreaterThanOrEqual(before);
    await store.redis.hset(keys.apiKey(id), 'lastUsedAtMs', 1);
    for (let again = 0; again < 50; again++) await letsIn(one, key);
    // What had been sent would have been carried out before this.
    expect(await lastUsed()).toBe(new Date(1).toISOString());
  });

  it('is not added to by the use of a key that is forgotten', async () => {
    const { key, id } = await one.apiKeys.make(wanted());
    await one.apiKeys.find(id);
    await store.redis.del(keys.apiKey(id));
    expect(await letsIn(one, key)).toBe(true);
    await one.apiKeys.list(undefined);
    expect(await store.redis.exists(keys.apiKey(id))).toBe(0);
  });
});

describe('looking up', () => {
  it('is shared by those who ask at once, and remembered for those after', async () => {
    const { key } = await one.apiKeys.make(wanted());
    await Promise.all(Array.from({ length: 200 }, () => letsIn(one, key)));
    await letsIn(one, key);
    expect(one.reads()).toBe(1);
  });

  it('remembers what is unknown too: a flood of one bad key is one read', async () => {
    const { key } = makeKey();
    await Promise.all(Array.from({ length: 200 }, () => letsIn(one, key)));
    expect(one.reads()).toBe(1);
  });

  it('holds no more than its bound, and a flood of unknown keys drives out none that is known', async () => {
    const { key, id } = await one.apiKeys.make(wanted());
    await letsIn(one, key);
    for (let at = 0; at < MAX_REMEMBERED + 500; at += 500) {
      await Promise.all(Array.from({ length: 500 }, () => one.apiKeys.find(makeKey().id)));
    }
    expect(one.apiKeys.remembered()).toEqual({ known: 1, unknown: MAX_REMEMBERED });
    expect(await one.apiKeys.find(id)).toMatchObject({ id });
  });

  it('sees a key that is made after it was looked for in vain', async () => {
    const { id } = await one.apiKeys.make(wanted());
    const record = await store.redis.hgetall(keys.apiKey(id));
    await store.redis.del(keys.apiKey(id));
    expect(await other.apiKeys.find(id)).toBeUndefined();
    await store.redis.hset(keys.apiKey(id), record);
    await eventually(
      'it is found',
      async () => (await other.apiKeys.find(id)) !== undefined,
      1_000,
    );
  });

  it('while Redis is away fails as the store’s fault, and works again after it', () =>
    withRedis({ appendonly: 'yes' }, async (own) => {
      const process = await startProcess(own);
      const { key } = await process.apiKeys.make(wanted());
      await own.kill();
      const failure = await eventually('it fails', async () => {
        try {
          await process.authenticate(`Bearer ${key}`);
          return false;
        } catch (error) {
          expect(isStoreFailure(error)).toBe(true);
          return true;
        }
      });
      expect(failure).toBeUndefined();
      await own.restart();
      await eventually('it is let in', () =>
        (async () => letsIn(process, key))().catch(() => false),
      );
      process.tenants.stop();
    }));
});
