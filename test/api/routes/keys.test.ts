import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { apiKeyList, apiKeyView, madeApiKey } from '../../../shared/contract/api-key.ts';
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
beforeEach(() => {
  api.acts.length = 0;
});

const WANTED = { tenant: 'default', name: 'user:ann@example.com', scopes: ['exec:run'] };
const make = (over: object = {}) => api.send('POST', '/v1/keys', { ...WANTED, ...over });

describe('POST /v1/keys', () => {
  it('answers 201 with the key, which no cache may keep and which works', async () => {
    const answer = await make();
    expect(answer.statusCode).toBe(201);
    expect(answer.headers['cache-control']).toBe('no-store');
    const made = madeApiKey.parse(answer.json());
    expect(made).toMatchObject({ ...WANTED, expiresAt: null, revokedAt: null, lastUsedAt: null });
    const runs = await api.send('GET', '/runs', undefined, { key: made.key });
    expect(runs.json().caller).toMatchObject({ grant: made.id, name: WANTED.name });
  });

  it('names each scope once, however often it was asked for', async () => {
    const answer = await make({ scopes: ['admin', 'exec:run', 'admin'] });
    expect(answer.json().scopes).toEqual(['admin', 'exec:run']);
  });

  it.each([
    [{ scopes: ['exec:everything'] }, 'scopes.0'],
    [{ scopes: [] }, 'scopes'],
    [{ scopes: 'admin' }, 'scopes'],
    [{ name: '' }, 'name'],
    [{ name: 'two words' }, 'name'],
    [{ name: 'x'.repeat(129) }, 'name'],
    [{ name: 'server' }, 'name'],
    [{ name: 'role:operators' }, 'name'],
    [{ name: 'tenant:default' }, 'name'],
    [{ tenant: 'Upper' }, 'tenant'],
    [{ tenant: '../x' }, 'tenant'],
    [{ expiresAt: 'tomorrow' }, 'expiresAt'],
    [{ expiresAt: 30 }, 'expiresAt'],
    [{ expiresAt: '2020-01-01T00:00:00Z' }, 'expiresAt'],
    [{ key: 'my-own' }, undefined],
  ])('refuses %j, naming the field', async (over, field) => {
    const answer = await make(over);
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ code: 'REQUEST_INVALID' });
    expect(answer.json().field).toBe(field);
    expect(api.acts).toEqual([]);
  });

  it('refuses a tenant that there is not, and says how one is made', async () => {
    const answer = await make({ tenant: 'nobody' });
    expect(answer.statusCode).toBe(422);
    expect(answer.json()).toMatchObject({ code: 'TENANT_UNKNOWN', field: 'tenant' });
    expect(answer.json().remedy).toContain('PUT /v1/tenants/');
  });

  it('is an act of its caller, in which the key is not', async () => {
    const { id, key } = (await make()).json();
    expect(api.acts).toMatchObject([
      { act: 'key.make', subject: id, actor: { grant: 'server' }, detail: { name: WANTED.name } },
    ]);
    expect(JSON.stringify(api.acts)).not.toContain(key);
  });
});

describe('GET /v1/keys', () => {
  it('shows whom each is for and what it may, and nothing that opens anything', async () => {
    const { id, key } = (await make()).json();
    const answer = await api.send('GET', '/v1/keys?tenant=default');
    const { keys } = apiKeyList.parse(answer.json());
    expect(keys.find((one) => one.id === id)).toMatchObject(WANTED);
    expect(answer.body).not.toContain(key.slice(21));
    expect(answer.body).not.toContain('digest');
  });

  it('of another tenant is empty, and of what cannot be one is refused', async () => {
    expect((await api.send('GET', '/v1/keys?tenant=other')).json()).toEqual({ keys: [] });
    expect((await api.send('GET', '/v1/keys?tenant=A%00')).statusCode).toBe(400);
  });
});

describe('DELETE /v1/keys/:id', () => {
  it('revokes at once, tells since when, and does the same again', async () => {
    const { id, key } = (await make()).json();
    const first = await api.send('DELETE', `/v1/keys/${id}`);
    expect(first.statusCode).toBe(200);
    expect(apiKeyView.parse(first.json()).revokedAt).not.toBeNull();
    expect((await api.send('DELETE', `/v1/keys/${id}`)).json()).toEqual(first.json());
    const refused = await api.send('GET', '/any', undefined, { key });
    expect(refused.statusCode).toBe(401);
    expect(refused.json().detail).toContain('was revoked at');
    expect(api.acts.at(-1)).toMatchObject({ act: 'key.revoke', subject: id });
  });

  it.each(['0123456789abcdef', 'x', '*', '0123456789ABCDEF', '%00', '..%2f..', 'a'.repeat(500)])(
    'answers 404 for %s, as for every id that there is not',
    async (id) => {
      const answer = await api.send('DELETE', `/v1/keys/${id}`);
      const { requestId: _, ...problem } = answer.json();
      const known = await api.send('DELETE', '/v1/keys/ffffffffffffffff');
      const { requestId: __, ...expected } = known.json();
      expect(answer.statusCode).toBe(404);
      expect(problem).toEqual(expected);
    },
  );
});

describe('the scope admin', () => {
  it('is needed for each of them, and every other scope together is not enough', async () => {
    const key = await api.keyWith(
      'exec:run',
      'exec:batch',
      'exec:read',
      'exec:cancel',
      'policy:approve',
      'policy:write',
    );
    for (const [method, url, body] of [
      ['POST', '/v1/keys', WANTED],
      ['GET', '/v1/keys'],
      ['DELETE', '/v1/keys/0123456789abcdef'],
      ['GET', '/v1/tenants'],
      ['GET', '/v1/tenants/default'],
      ['PUT', '/v1/tenants/acme', {}],
      ['DELETE', '/v1/tenants/acme'],
    ] as const) {
      const answer = await api.send(method, url, body, { key });
      expect([method, url, answer.statusCode]).toEqual([method, url, 403]);
      expect(answer.json()).toMatchObject({ code: 'FORBIDDEN' });
      expect(answer.json().detail).toMatch(/the scope admin; the scopes of this one: exec:run, /);
    }
  });

  it('implies no other', async () => {
    const key = await api.keyWith('admin');
    expect((await api.send('GET', '/v1/keys', undefined, { key })).statusCode).toBe(200);
    expect((await api.send('GET', '/runs', undefined, { key })).statusCode).toBe(403);
    expect((await api.send('GET', '/any', undefined, { key })).statusCode).toBe(200);
  });

  it('is asked for before anything that was sent is looked at', async () => {
    const key = await api.keyWith('exec:run');
    const answer = await api.send('POST', '/v1/keys', { nonsense: true }, { key });
    expect(answer.statusCode).toBe(403);
  });
});

describe('the document', () => {
  it('has the routes, and that they may answer 401 and 403', async () => {
    const { paths } = (await api.server.inject('/openapi.json')).json();
    expect(Object.keys(paths['/v1/keys'].post.responses)).toEqual(
      expect.arrayContaining(['201', '400', '401', '403', '422', '503']),
    );
    expect(Object.keys(paths['/v1/tenants/{name}'])).toEqual(['get', 'put', 'delete']);
  });
});
