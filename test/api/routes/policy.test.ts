import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AdministrativeAct } from '../../../services/api/auth.ts';
import { defaultPolicy } from '../../../services/api/policy/default-policy.ts';
import { createPolicy } from '../../../services/api/policy/engine.ts';
import { createPolicyStore, type PolicyStore } from '../../../services/api/policy/store.ts';
import { policyRoutes } from '../../../services/api/routes/policy.ts';
import type { Server } from '../../../services/api/routes/server-types.ts';
import { buildServer } from '../../../services/api/server.ts';
import type { Scope } from '../../../shared/contract/policy.ts';
import { policyCheck } from '../../../shared/contract/policy-check.ts';
import { policyView } from '../../../shared/contract/policy-view.ts';
import { createMetrics } from '../../../shared/metrics.ts';
import { silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { callerOfTenant } from '../caller.ts';
import { LOOK, load, RUN, resolveWith } from '../policy/documents.ts';

let redis: TestRedis;
let server: Server;
let store: PolicyStore;
let acts: AdministrativeAct[];
beforeAll(async () => {
  redis = await startRedis();
  const connection = await redis.connect('request');
  const fallback = defaultPolicy();
  store = createPolicyStore({ redis: connection, file: undefined, load, fallback, log: silent });
  await store.start();
  const policy = createPolicy({
    redis: connection,
    inForce: () => store.current.policy,
    onDecisions: () => {},
    log: silent,
  });
  server = await buildServer({
    decide: async () => {},
    maxBodyBytes: 2_000_000,
    maxTenantRequests: 1_000,
    // The key names its scopes.
    authenticate: (authorization = '') =>
      callerOfTenant('t', {
        scopes: new Set(authorization.replace('Bearer ', '').split(',') as Scope[]),
      }),
    metrics: createMetrics(),
    version: '0.0.0',
    log: silent,
    addRoutes(scope) {
      policyRoutes(scope, { policy, store, resolveWith, onAct: (act) => acts.push(act) });
      scope.post('/other', async ({ body }) => ({ body }));
    },
  });
  await server.ready();
});
beforeEach(() => {
  acts = [];
});
afterAll(async () => {
  await server.close();
  await store.stop();
  await redis.stop();
});

const send = (
  method: 'GET' | 'PUT' | 'POST',
  url: string,
  asked: { body?: object | string; scopes?: string; headers?: Record<string, string> } = {},
) =>
  server.inject({
    method,
    url,
    headers: {
      authorization: `Bearer ${asked.scopes ?? 'policy:write,exec:run'}`,
      ...(asked.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...asked.headers,
    },
    ...(asked.body === undefined ? {} : { payload: asked.body }),
  });
const etag = async (): Promise<string> =>
  String((await send('GET', '/v1/policy')).headers.etag ?? '');
const document = (name: string, rules: object[] = [RUN, LOOK]): object => ({
  version: '1',
  name,
  rules,
});
const put = async (body: object | string, headers: Record<string, string> = {}) =>
  send('PUT', '/v1/policy', { body, headers: { 'if-match': await etag(), ...headers } });

describe('GET /v1/policy', () => {
  it('shows the document in force with its ETag', async () => {
    const answer = await send('GET', '/v1/policy');
    const view = policyView.parse(answer.json());
    expect(view).toMatchObject({ source: 'default', by: null, problems: [] });
    expect(answer.headers.etag).toBe(`"${view.revision}"`);
  });

  it('is for keys with policy:write', async () => {
    const answer = await send('GET', '/v1/policy', { scopes: 'exec:run,admin' });
    expect(answer.statusCode).toBe(403);
    expect(answer.json()).toMatchObject({ code: 'FORBIDDEN' });
  });
});

describe('PUT /v1/policy', () => {
  it('puts a document in force, and tells the audit', async () => {
    const before = await etag();
    const answer = await put(document('one'));
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({ name: 'one', source: 'put', by: 'user:t' });
    expect(answer.headers.etag).not.toBe(before);
    expect(acts).toMatchObject([{ act: 'policy.put', subject: answer.json().revision }]);
  });

  it('takes YAML', async () => {
    const yaml =
      'version: "1"\nname: yaml\nrules:\n  - { name: a, tools: [exec], action: allow }\n';
    const answer = await put(yaml, { 'content-type': 'application/yaml' });
    expect(answer.json()).toMatchObject({ name: 'yaml' });
    const other = await send('POST', '/other', {
      body: yaml,
      headers: { 'content-type': 'application/yaml' },
    });
    expect(other.statusCode).toBe(415);
  });

  it('refuses a stale ETag with 412, none with 400, and a broken document with 422', async () => {
    await put(document('two'));
    const stale = await put(document('three'), { 'if-match': '"abc"' });
    expect(stale.statusCode).toBe(412);
    expect(stale.json()).toMatchObject({ code: 'POLICY_CHANGED', field: 'If-Match' });
    for (const odd of ['', '*', 'W/"abc"', 'abc', '"a", "b"']) {
      const answer = await put(document('three'), { 'if-match': odd });
      expect(answer.statusCode).toBe(400);
    }
    const broken = await put({ version: '2' });
    expect(broken.statusCode).toBe(422);
    expect(broken.json()).toMatchObject({ code: 'POLICY_INVALID' });
    expect((await send('GET', '/v1/policy')).json()).toMatchObject({ name: 'two' });
    expect(acts).toHaveLength(1);
  });
});

describe('POST /v1/policy/check', () => {
  const check = (body: object, scopes?: string) =>
    send('POST', '/v1/policy/check', { body, ...(scopes === undefined ? {} : { scopes }) });

  it('tells the decision, the rule, the effective job and the limits left, and spends nothing', async () => {
    await put(
      document('limited', [{ ...RUN, rate_limit: { max: 2, window: 60, per: 'grant' } }, LOOK]),
    );
    for (let n = 0; n < 5; n++) {
      const answer = await check({ args: { command: ['true'], timeoutMs: 5000 } });
      expect(policyCheck.parse(answer.json())).toMatchObject({
        decision: 'allow',
        rule: 'run',
        effective: { timeoutMs: 5000, image: 'base' },
        limitsLeft: [{ rule: 'run', counts: 'calls', max: 2, left: 1 }],
      });
    }
  });

  it('answers 200 with deny, and with 4xx what is no request or is above the operator’s ceilings', async () => {
    const curl = { path: 'args.command.0', op: 'eq', value: 'curl' };
    const no = { name: 'no', tools: ['exec'], when: curl, action: 'deny', reason: 'No.' };
    await put(document('denying', [RUN, LOOK, no]));
    const denied = await check({ args: { command: ['curl'] } });
    expect(denied.statusCode).toBe(200);
    expect(denied.json()).toMatchObject({ decision: 'deny', rule: 'no', reason: 'No.' });
    const odd = await check({ args: { command: [], nope: 1 } });
    expect(odd.statusCode).toBe(400);
    expect(odd.json().field).toMatch(/^args/);
    const high = await check({ args: { command: ['true'], timeoutMs: 86_400_000 } });
    expect([400, 422]).toContain(high.statusCode);
    expect((await check({ tool: 'rm' })).statusCode).toBe(400);
  });

  it('is for keys with exec:run, and for whom the policy lets ask', async () => {
    expect((await check({ args: { command: ['true'] } }, 'exec:read')).statusCode).toBe(403);
    await put(document('closed', [RUN]));
    const answer = await check({ args: { command: ['true'] } });
    expect(answer.json()).toMatchObject({ code: 'POLICY_DENIED', policy: { decision: 'deny' } });
  });
});
