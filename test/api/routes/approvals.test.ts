import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Caller } from '../../../services/api/auth.ts';
import { approvalRoutes } from '../../../services/api/routes/approvals.ts';
import type { Server } from '../../../services/api/routes/server-types.ts';
import { buildServer } from '../../../services/api/server.ts';
import { approvalPage, approvalView } from '../../../shared/contract/approval.ts';
import { problem } from '../../../shared/contract/problem.ts';
import { AppError } from '../../../shared/errors.ts';
import { createMetrics } from '../../../shared/metrics.ts';
import { silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { type Office, openOffice, person } from '../approvals/parts.ts';

let store: TestRedis;
let server: Server;
let office: Office;
const callers: Record<string, Caller> = {
  boss: person('boss'),
  asker: person('asker'),
  agent: person('agent', { scopes: new Set(['exec:run']) }),
  foreign: person('boss', { tenant: 'other' }),
};

beforeAll(async () => {
  store = await startRedis();
  office = openOffice(store.redis);
  server = await buildServer({
    decide: async () => {},
    maxBodyBytes: 10_000,
    maxTenantRequests: 1_000,
    authenticate(authorization = '') {
      const caller = callers[authorization.replace('Bearer ', '')];
      if (caller === undefined) throw new AppError('UNAUTHENTICATED');
      return caller;
    },
    metrics: createMetrics(),
    version: '0.0.0',
    log: silent,
    addRoutes: (scope) => approvalRoutes(scope, { approvals: office.approvals }),
  });
  await server.ready();
});
afterAll(async () => {
  await server.close();
  await store.stop();
});

interface Call {
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}
const call = (who: string, method: 'GET' | 'POST', path: string, { body, headers }: Call = {}) =>
  server.inject({
    method,
    url: `/v1/approvals${path}`,
    headers: {
      authorization: `Bearer ${who}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
  });
const refusalOf = (answer: { statusCode: number; json(): unknown }) => {
  const { code, status, detail } = problem.parse(answer.json());
  expect(answer.statusCode).toBe(status);
  return { code, detail };
};

describe('GET /v1/approvals', () => {
  it('lists by state with a cursor, and shows one with its fingerprint as ETag', async () => {
    const asked = [await office.ask(), await office.ask()];
    const first = await call('boss', 'GET', '?state=pending&limit=1');
    const page = approvalPage.parse(first.json());
    expect(page.approvals).toHaveLength(1);
    const second = await call('boss', 'GET', `?state=pending&limit=1&cursor=${page.next}`);
    const ids = [page, approvalPage.parse(second.json())].flatMap(({ approvals }) => approvals);
    expect(new Set(ids.map(({ id }) => id))).toEqual(new Set(asked.map(({ id }) => id)));
    expect(approvalPage.parse((await call('boss', 'GET', '?state=denied')).json())).toEqual({
      approvals: [],
      next: null,
    });
    const one = await call('boss', 'GET', `/${asked[0]?.id}`);
    const view = approvalView.parse(one.json());
    expect(view.request).toMatchObject({ command: ['true'] });
    expect(one.headers.etag).toBe(`"${view.fingerprint}"`);
  });

  it.each(['?state=open', '?limit=0', '?limit=999', '?cursor=x', '?colour=red'])(
    'refuses %s',
    async (query) => {
      expect(refusalOf(await call('boss', 'GET', query)).code).toBe('REQUEST_INVALID');
    },
  );

  it('needs the scope policy:approve', async () => {
    const { id } = await office.ask();
    for (const answer of [
      await call('agent', 'GET', ''),
      await call('agent', 'GET', `/${id}`),
      await call('agent', 'POST', `/${id}/approve`, { body: {} }),
      await call('agent', 'POST', `/${id}/deny`, { body: { reason: 'x' } }),
    ]) {
      expect(refusalOf(answer).code).toBe('FORBIDDEN');
    }
  });

  it('answers a foreign id as an unknown one and as one of another form', async () => {
    const { id } = await office.ask();
    const details = await Promise.all(
      [`/${id}`, `/apr_${'0'.repeat(32)}`, '/x', '/%00'].map(async (path) => {
        const { requestId, ...rest } = (await call('foreign', 'GET', path)).json();
        expect(requestId).toBeTypeOf('string');
        return rest;
      }),
    );
    for (const one of details) expect(one).toEqual(details[0]);
    expect((await call('foreign', 'GET', '')).json()).toMatchObject({ approvals: [] });
  });
});

describe('POST /v1/approvals/:id', () => {
  it('approves, with or without a body', async () => {
    const [a, b] = [await office.ask(), await office.ask()];
    const body = { reason: 'go' };
    const first = await call('boss', 'POST', `/${a.id}/approve`, { body });
    expect(approvalView.parse(first.json())).toMatchObject({ state: 'approved' });
    const second = await call('boss', 'POST', `/${b.id}/approve`);
    expect(approvalView.parse(second.json())).toMatchObject({ state: 'approved' });
    const denied = await call('boss', 'POST', `/${b.id}/deny`, { body: { reason: 'x' } });
    expect(denied.statusCode).toBe(409);
    expect(refusalOf(denied).code).toBe('APPROVAL_DECIDED');
  });

  it('takes the ETag as If-Match, with or without quotes, and no other', async () => {
    const { id, approval } = await office.ask();
    const withMatch = (match: string) =>
      call('boss', 'POST', `/${id}/approve`, { body: {}, headers: { 'if-match': match } });
    const stale = await withMatch(`"${'0'.repeat(64)}"`);
    expect(stale.statusCode).toBe(412);
    expect(refusalOf(stale).code).toBe('POLICY_CHANGED');
    expect((await withMatch(`"${approval.fingerprint}"`)).statusCode).toBe(200);
    expect((await withMatch(approval.fingerprint)).statusCode).toBe(200);
  });

  it('is refused to whoever asked', async () => {
    const { id } = await office.ask();
    const answer = await call('asker', 'POST', `/${id}/approve`, { body: {} });
    expect(answer.statusCode).toBe(403);
    expect(refusalOf(answer)).toEqual({
      code: 'APPROVAL_NOT_YOURS',
      detail: 'expected somebody else than user:asker, who asked for it',
    });
  });

  it.each([
    ['approve', { reasons: 'x' }],
    ['approve', { edit: 5 }],
    ['approve', []],
    ['deny', {}],
    ['deny', { reason: '' }],
    ['deny', { reason: 'x'.repeat(2000) }],
    ['deny', { reason: '\ud800' }],
  ])('%s refuses %j', async (what, body) => {
    const { id, job } = await office.ask();
    const answer = await call('boss', 'POST', `/${id}/${what}`, { body });
    expect(refusalOf(answer).code).toBe('REQUEST_INVALID');
    expect(approvalView.parse((await call('boss', 'GET', `/${id}`)).json())).toMatchObject({
      state: 'pending',
      job,
    });
  });
});
