import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createSigner, type Signer } from '../../../services/api/callbacks/signer.ts';
import { callbackRoutes } from '../../../services/api/routes/callbacks.ts';
import type { Server } from '../../../services/api/routes/server-types.ts';
import { buildServer } from '../../../services/api/server.ts';
import { callbackSecret, deadCallbacks } from '../../../shared/contract/callback.ts';
import type { Scope } from '../../../shared/contract/policy.ts';
import { createMetrics } from '../../../shared/metrics.ts';
import {
  claimCallbacks,
  type Delivery,
  dueNotice,
  endCallback,
} from '../../../shared/queue/callbacks.ts';
import { silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { callerOfTenant } from '../caller.ts';

const SECRET = 's'.repeat(40);
let store: TestRedis;
let server: Server;
let without: Server;
let scopes: Scope[];

/** The key is the name of the tenant. */
async function serve(signer: Signer | undefined): Promise<Server> {
  const one = await buildServer({
    decide: async () => {},
    maxBodyBytes: 1_000,
    maxTenantRequests: 1_000,
    authenticate: async (authorization = '') =>
      callerOfTenant(authorization.replace('Bearer ', ''), { scopes: new Set(scopes) }),
    metrics: createMetrics(),
    version: '0.0.0',
    log: silent,
    addRoutes: (scope) => callbackRoutes(scope, { redis: store.redis, signer, onAct: () => {} }),
  });
  await one.ready();
  return one;
}

beforeAll(async () => {
  store = await startRedis();
  server = await serve(createSigner(SECRET));
  without = await serve(undefined);
});
beforeEach(async () => {
  scopes = ['exec:run', 'exec:read'];
  await store.redis.flushall();
});
afterAll(async () => {
  await server.close();
  await without.close();
  await store.stop();
});

const send = (method: 'GET' | 'POST', url: string, tenant = 'one', to = server) =>
  to.inject({ method, url, headers: { authorization: `Bearer ${tenant}` } });

async function bury(subject: string, tenant = 'one'): Promise<void> {
  const address = {
    url: 'https://a.example/hooks/s3cret',
    target: 'a.example:443',
    includeOutput: true,
  };
  const about = { type: 'test.notice', subject, tenant, data: '{}' };
  await dueNotice(store.redis, { ...about, to: address });
  const room = { wanted: 1, leaseMs: 60_000, maxOfLane: 1, maxOfTenant: 1, underWay: {} };
  const [delivery] = await claimCallbacks(store.redis, room);
  await endCallback(store.redis, delivery as Delivery, { became: 'dead', reason: 'no' });
}

const listed = async (tenant: string): Promise<string[]> => {
  const { callbacks } = deadCallbacks.parse(
    (await send('GET', '/v1/callbacks/dead', tenant)).json(),
  );
  return callbacks.map(({ id }) => id);
};

describe('GET /v1/callbacks/dead', () => {
  it("lists the caller's own, so many as it asks for", async () => {
    await bury('a');
    await bury('b');
    await bury('c', 'two');
    expect((await listed('one')).sort()).toEqual(['cb_a', 'cb_b']);
    expect(await listed('two')).toEqual(['cb_c']);
    const one = await send('GET', '/v1/callbacks/dead?limit=1');
    expect(deadCallbacks.parse(one.json()).callbacks).toHaveLength(1);
    for (const limit of ['0', '1001', 'x']) {
      expect((await send('GET', `/v1/callbacks/dead?limit=${limit}`)).statusCode).toBe(400);
    }
  });

  it("tells where a notice of the operator's went to administrators alone", async () => {
    await bury('a');
    const seen = async () => (await send('GET', '/v1/callbacks/dead')).body;
    expect(await seen()).toContain('https://a.example');
    expect(await seen()).not.toContain('s3cret');
    scopes = ['exec:read', 'admin'];
    expect(await seen()).toContain('https://a.example/hooks/s3cret');
  });

  it('needs the scope exec:read', async () => {
    scopes = ['exec:run'];
    expect((await send('GET', '/v1/callbacks/dead')).statusCode).toBe(403);
  });
});

describe('POST /v1/callbacks/:id/replay', () => {
  it('makes it due again, once', async () => {
    await bury('a');
    const first = await send('POST', '/v1/callbacks/cb_a/replay');
    expect(first.statusCode).toBe(202);
    expect(first.json()).toEqual({ id: 'cb_a' });
    expect(await listed('one')).toEqual([]);
    expect((await send('POST', '/v1/callbacks/cb_a/replay')).statusCode).toBe(404);
  });

  it("answers another tenant's like one that does not exist", async () => {
    await bury('a');
    const answers = await Promise.all(
      ['cb_a', 'cb_b', 'x', encodeURIComponent('../a'), 'cb_%00'].map((id) =>
        send('POST', `/v1/callbacks/${id}/replay`, 'two'),
      ),
    );
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([404, 404, 404, 404, 404]);
    const [foreign, unknown] = answers.map((answer) => {
      const { requestId: _id, ...rest } = answer.json() as Record<string, unknown>;
      return JSON.stringify(rest).replaceAll('cb_b', 'cb_a');
    });
    expect(foreign).toBe(unknown);
    expect(await listed('one')).toEqual(['cb_a']);
  });

  it('needs the scope exec:run', async () => {
    scopes = ['exec:read'];
    await bury('a');
    expect((await send('POST', '/v1/callbacks/cb_a/replay')).statusCode).toBe(403);
  });
});

describe('GET /v1/callbacks/secret', () => {
  it('answers each tenant with its own', async () => {
    const secretOf = async (tenant: string): Promise<string> =>
      callbackSecret.parse((await send('GET', '/v1/callbacks/secret', tenant)).json()).secret;
    scopes = ['exec:run', 'admin'];
    expect(await secretOf('default')).toBe(SECRET);
    scopes = ['exec:run'];
    expect(await secretOf('one')).toBe(createSigner(SECRET).secretOf('one'));
    expect(await secretOf('one')).not.toBe(await secretOf('two'));
  });

  it("of the operator, which every tenant's follows from, is for administrators alone", async () => {
    scopes = ['exec:run', 'exec:read', 'policy:approve'];
    const answer = await send('GET', '/v1/callbacks/secret', 'default');
    expect(answer.statusCode).toBe(403);
    expect(answer.body).not.toContain(SECRET);
  });

  it('says so while callbacks are off', async () => {
    const answer = await send('GET', '/v1/callbacks/secret', 'one', without);
    expect(answer.statusCode).toBe(422);
    expect(answer.json()).toMatchObject({ code: 'CALLBACK_REFUSED' });
  });

  it('needs the scope exec:run', async () => {
    scopes = ['exec:read'];
    expect((await send('GET', '/v1/callbacks/secret')).statusCode).toBe(403);
  });
});
