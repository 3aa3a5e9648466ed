import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tenantList, tenantView } from '../../../shared/contract/tenant.ts';
import { startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { type Administered, startAdministered } from './administered.ts';

let store: TestRedis;
let api: Administered;
beforeAll(async () => {
  store = await startRedis();
  api = await startAdministered(store);
});
afterAll(async () => {
  await api.stop();
  await store.stop();
});

describe('PUT /v1/tenants/:name', () => {
  it('answers 201 with a new tenant and 200 with one that is set anew, as a whole', async () => {
    const first = await api.send('PUT', '/v1/tenants/acme', { weight: 2, maxRunningJobs: 3 });
    expect(first.statusCode).toBe(201);
    expect(tenantView.parse(first.json())).toEqual({
      name: 'acme',
      weight: 2,
      maxOpenJobs: null,
      maxRunningJobs: 3,
      maxBlobBytes: null,
      isFixed: false,
    });
    const second = await api.send('PUT', '/v1/tenants/acme', { maxOpenJobs: 9 });
    expect(second.statusCode).toBe(200);
    expect(second.json()).toMatchObject({ weight: 1, maxOpenJobs: 9, maxRunningJobs: null });
    expect((await api.send('GET', '/v1/tenants/acme')).json()).toEqual(second.json());
    expect(api.acts.at(-1)).toMatchObject({
      act: 'tenant.set',
      subject: 'acme',
      actor: { grant: 'server' },
      detail: { maxOpenJobs: 9 },
    });
  });

  it.each([
    ['acme', { weight: 0 }, 'weight'],
    ['acme', { weight: 101 }, 'weight'],
    ['acme', { maxOpenJobs: 0 }, 'maxOpenJobs'],
    ['acme', { maxRunningJobs: 1.5 }, 'maxRunningJobs'],
    ['acme', { maxBlobBytes: '1' }, 'maxBlobBytes'],
    ['acme', { wieght: 1 }, undefined],
    ['Acme', {}, 'name'],
    ['-', {}, 'name'],
    ['x'.repeat(64), {}, 'name'],
    ['a%3Ab', {}, 'name'],
    ['__proto__', {}, 'name'],
  ])('refuses %s as %j, naming the field', async (name, settings, field) => {
    const answer = await api.send('PUT', `/v1/tenants/${name}`, settings);
    expect(answer.statusCode).toBe(400);
    expect(answer.json().field).toBe(field);
  });

  it('refuses one that stands fixed, and says where it is changed', async () => {
    const answer = await api.send('PUT', '/v1/tenants/default', { weight: 5 });
    expect(answer.statusCode).toBe(409);
    expect(answer.json()).toMatchObject({ code: 'TENANT_FIXED', field: 'name' });
    expect(answer.json().remedy).toContain('COFFERDAM_TENANTS');
  });
});

describe('GET /v1/tenants', () => {
  it('lists the fixed and the others by name', async () => {
    await api.send('PUT', '/v1/tenants/zeta', {});
    const { tenants } = tenantList.parse((await api.send('GET', '/v1/tenants')).json());
    expect(tenants.map(({ name, isFixed }) => [name, isFixed])).toEqual([
      ['acme', false],
      ['default', true],
      ['zeta', false],
    ]);
  });

  it('answers 404 for one that there is not', async () => {
    for (const name of ['nobody', '__proto__', 'x'.repeat(1_000)]) {
      expect((await api.send('GET', `/v1/tenants/${name}`)).statusCode).toBe(404);
    }
  });
});

describe('DELETE /v1/tenants/:name', () => {
  it('removes it with its keys', async () => {
    await api.send('PUT', '/v1/tenants/brief', {});
    const wanted = { tenant: 'brief', name: 'x', scopes: ['exec:run'] };
    const { key } = (await api.send('POST', '/v1/keys', wanted)).json();
    const answer = await api.send('DELETE', '/v1/tenants/brief');
    expect([answer.statusCode, answer.body]).toEqual([204, '']);
    expect((await api.send('GET', '/v1/tenants/brief')).statusCode).toBe(404);
    expect((await api.send('DELETE', '/v1/tenants/brief')).statusCode).toBe(404);
    expect((await api.send('GET', '/runs', undefined, { key })).statusCode).toBe(401);
    expect((await api.send('POST', '/v1/keys', wanted)).json().code).toBe('TENANT_UNKNOWN');
    expect(api.acts.filter(({ act }) => act === 'tenant.remove')).toHaveLength(1);
  });

  it('refuses one that stands fixed', async () => {
    expect((await api.send('DELETE', '/v1/tenants/default')).statusCode).toBe(409);
  });
});

describe('the header Cofferdam-Session', () => {
  it('is the session of the caller, and is refused where it cannot be one', async () => {
    const asking = (name: string) =>
      api.send('GET', '/any', undefined, { headers: { 'cofferdam-session': name } });
    expect((await asking('run 7')).json()).toEqual({ session: 'run 7' });
    expect((await api.send('GET', '/any')).json()).toEqual({ session: null });
    const refused = await asking('x'.repeat(129));
    expect(refused.statusCode).toBe(400);
    expect(refused.json()).toMatchObject({ field: 'Cofferdam-Session' });
  });
});
