import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTenants, type LiveTenants } from '../../services/api/tenants.ts';
import { readTenants } from '../../shared/config/tenants.ts';
import { tenantSettings } from '../../shared/contract/tenant.ts';
import { keys } from '../../shared/queue/keys.ts';
import {
  eventually,
  silent,
  startRedis,
  type TestRedis,
  withRedis,
} from '../shared/queue/redis.ts';

const IN_FORCE_WITHIN_MS = 1_000;
const MAX_OPEN = 100;
const FIXED = new Map([
  ...readTenants(undefined, MAX_OPEN),
  ['filed', { name: 'filed', keys: ['secret'], weight: 3, maxOpenJobs: 7, maxRunningJobs: 2 }],
]);
const SETTINGS = tenantSettings.parse({ weight: 2, maxOpenJobs: 5 });

let store: TestRedis;
let one: LiveTenants;
let other: LiveTenants;
beforeAll(async () => {
  store = await startRedis();
});
afterAll(() => store.stop());

const start = async (own: TestRedis): Promise<LiveTenants> => {
  const redis = await own.connect('request');
  const tenants = createTenants({ redis, fixed: FIXED, maxOpenJobs: MAX_OPEN, log: silent });
  await tenants.start();
  return tenants;
};
beforeEach(async () => {
  await store.redis.flushall();
  [one, other] = await Promise.all([start(store), start(store)]);
});
afterEach(() => {
  one.stop();
  other.stop();
});

const within = (what: string, isSo: () => boolean): Promise<void> =>
  eventually(what, isSo, IN_FORCE_WITHIN_MS);

describe('a tenant', () => {
  it('is in force at once where it was set, and within a second on every other process', async () => {
    expect(await one.set('acme', SETTINGS)).toEqual({
      isNew: true,
      view: { name: 'acme', ...SETTINGS, isFixed: false },
    });
    expect(one.get('acme')).toMatchObject({ weight: 2, maxOpenJobs: 5, maxRunningJobs: null });
    await within('it is known', () => other.get('acme')?.weight === 2);
    expect(await other.set('acme', tenantSettings.parse({ weight: 9 }))).toMatchObject({
      isNew: false,
    });
    await within('it is changed', () => one.get('acme')?.weight === 9);
  });

  it('without a bound of its own has that of the settings', async () => {
    await one.set('acme', tenantSettings.parse({}));
    expect(one.get('acme')).toEqual({
      weight: 1,
      maxOpenJobs: MAX_OPEN,
      maxRunningJobs: null,
      maxBlobBytes: null,
    });
  });

  it('that was removed is unknown within a second, and cannot be removed again', async () => {
    await one.set('acme', SETTINGS);
    await within('it is known', () => other.get('acme') !== undefined);
    await one.remove('acme');
    expect(one.get('acme')).toBeUndefined();
    await within('it is unknown', () => other.get('acme') === undefined);
    await expect(one.remove('acme')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it.each(['filed', 'default'])('of the server’s own, %s, stands fixed', async (name) => {
    for (const changing of [one.set(name, SETTINGS), one.remove(name)]) {
      await expect(changing).rejects.toMatchObject({ code: 'TENANT_FIXED', field: 'name' });
    }
    expect(one.get(name)?.maxOpenJobs).toBe(FIXED.get(name)?.maxOpenJobs);
    expect(await store.redis.exists(keys.tenantRecords())).toBe(0);
  });

  it('of the file stands above one that was set by the same name', async () => {
    await store.redis.hset(keys.tenantRecords(), 'filed', JSON.stringify(SETTINGS));
    await store.redis.incr(keys.tenantsRevision());
    expect((await one.list()).filter(({ name }) => name === 'filed')).toMatchObject([
      { weight: 3, isFixed: true },
    ]);
    expect(one.get('filed')).toMatchObject({ weight: 3, maxRunningJobs: 2 });
  });

  it('that nobody can read is none, and hides no other', async () => {
    await store.redis.hset(keys.tenantRecords(), 'broken', '{"weight":-1}', 'torn', '{');
    await one.set('acme', SETTINGS);
    expect((await one.list()).map(({ name }) => name)).toEqual(['acme', 'default', 'filed']);
  });
});

describe('the list', () => {
  it('is sorted by name, says which are fixed, and shows no key', async () => {
    await one.set('acme', SETTINGS);
    expect(await other.list()).toEqual([
      { name: 'acme', ...SETTINGS, isFixed: false },
      {
        name: 'default',
        weight: 1,
        maxOpenJobs: MAX_OPEN,
        maxRunningJobs: null,
        maxBlobBytes: null,
        isFixed: true,
      },
      {
        name: 'filed',
        weight: 3,
        maxOpenJobs: 7,
        maxRunningJobs: 2,
        maxBlobBytes: null,
        isFixed: true,
      },
    ]);
  });
});

describe('while Redis is away', () => {
  it('what was last seen stays in force, and changes are seen again after it', () =>
    withRedis({ appendonly: 'yes' }, async (own) => {
      const tenants = await start(own);
      await tenants.set('acme', SETTINGS);
      await own.kill();
      await new Promise((resolve) => setTimeout(resolve, 900));
      expect(tenants.get('acme')).toMatchObject({ weight: 2 });
      await own.restart();
      await eventually('it is set', () =>
        tenants.set('acme', tenantSettings.parse({ weight: 4 })).then(
          () => true,
          () => false,
        ),
      );
      expect(tenants.get('acme')).toMatchObject({ weight: 4 });
      tenants.stop();
    }));
});
