import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAudit } from '../../../services/api/audit.ts';
import { auditRoutes } from '../../../services/api/routes/audit.ts';
import type { Server } from '../../../services/api/routes/server-types.ts';
import { buildServer } from '../../../services/api/server.ts';
import { auditHeads, auditPage, auditRecord } from '../../../shared/contract/audit.ts';
import type { Scope } from '../../../shared/contract/policy.ts';
import { createMetrics } from '../../../shared/metrics.ts';
import { createSeal } from '../../../shared/queue/signature.ts';
import { silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';
import { callerOfTenant } from '../caller.ts';

const keys = [{ id: 'k', secret: 's'.repeat(32) }];

let store: TestRedis;
let server: Server;
let url: string;
const closing = new AbortController();
beforeAll(async () => {
  store = await startRedis();
  server = await buildServer({
    decide: async () => {},
    maxBodyBytes: 1000,
    maxTenantRequests: 1_000,
    // The key is the scope that it has.
    authenticate: async (authorization = '') =>
      callerOfTenant('t', { scopes: new Set([authorization.slice('Bearer '.length) as Scope]) }),
    metrics: createMetrics(),
    version: '0.0.0',
    log: silent,
    addRoutes: (scope) =>
      auditRoutes(scope, { redis: store.redis, seal: createSeal(keys), closing: closing.signal }),
  });
  url = await server.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  closing.abort();
  await server.close();
  await store.stop();
});
beforeEach(() => store.redis.flushall());

async function recorded(...subjects: string[]): Promise<void> {
  const rules = {
    arguments: 'hash',
    decisions: 'all',
    chain: true,
    retain: 3_600_000,
    redactions: [],
  } as const;
  const audit = createAudit({ redis: store.redis, keys, rules: () => rules, log: silent });
  await audit.start();
  for (const subject of subjects) audit.act({ actor: null, act: 'test', subject, detail: {} });
  await audit.stop();
}

const get = (path: string, scope = 'admin') =>
  fetch(url + path, {
    headers: { authorization: `Bearer ${scope}` },
    signal: AbortSignal.timeout(10_000),
  });
const page = async (path: string) => auditPage.parse(await (await get(path)).json());
const subjectsOf = ({ records }: { records: readonly unknown[] }): string[] =>
  records.map((record) => {
    const { entry } = auditRecord.parse(record);
    return entry?.kind === 'act' ? `${entry.act === 'test' ? entry.subject : 'begun'}` : '';
  });

describe('GET /v1/audit', () => {
  it('is for administrators alone', async () => {
    for (const path of ['/v1/audit', '/v1/audit?follow=true', '/v1/audit/heads']) {
      expect((await get(path, 'policy:write')).status).toBe(403);
    }
  });

  it('answers page after page, the oldest first', async () => {
    await recorded('1', '2', '3', '4');
    const first = await page('/v1/audit?limit=2');
    expect(subjectsOf(first)).toEqual(['begun', '1']);
    const second = await page(`/v1/audit?limit=3&after=${first.next}`);
    expect(subjectsOf(second)).toEqual(['2', '3', '4']);
    const third = await page(`/v1/audit?limit=3&after=${second.next}`);
    expect(third).toEqual({ records: [], next: null });
  });

  it('answers the newest, and what is between two times', async () => {
    await recorded('1', '2', '3');
    expect(subjectsOf(await page('/v1/audit?order=newest&limit=2'))).toEqual(['2', '3']);
    const now = Date.now();
    expect(
      subjectsOf(await page(`/v1/audit?after=${now - 60_000}&before=${now + 60_000}`)),
    ).toHaveLength(4);
    expect(subjectsOf(await page(`/v1/audit?before=${now - 60_000}`))).toEqual([]);
    for (const first of ['0', '0-0', '000-00']) {
      expect(subjectsOf(await page(`/v1/audit?before=${first}`))).toEqual([]);
    }
    expect(subjectsOf(await page(`/v1/audit?after=${now + 60_000}`))).toEqual([]);
  });

  it.each(['limit=0', 'limit=1001', 'after=yesterday', 'before=-', 'order=random', 'x=1'])(
    'refuses %s',
    async (query) => {
      expect((await get(`/v1/audit?${query}`)).status).toBe(400);
    },
  );

  it('goes on with records as they come', async () => {
    await recorded('before');
    const response = await get('/v1/audit?follow=true');
    expect(response.headers.get('content-type')).toContain('application/x-ndjson');
    // With the head of the answer the place to follow from was read.
    const writing = recorded('one', 'two');
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    let text = '';
    while (!text.includes('two')) {
      const { value, done } = await reader.read();
      if (done) break;
      text += Buffer.from(value).toString();
    }
    await reader.cancel();
    await writing;
    const lines = text.trim().split('\n');
    expect(subjectsOf({ records: lines.map((line) => JSON.parse(line)) })).toEqual([
      'begun',
      'one',
      'two',
    ]);
  });
});

describe('GET /v1/audit/heads', () => {
  it('names the end of each chain, and whether its seal is good', async () => {
    await recorded('1');
    await recorded('2', '3');
    const { heads } = auditHeads.parse(await (await get('/v1/audit/heads')).json());
    expect(heads.map(({ seq, seal }) => ({ seq, seal })).toSorted((a, b) => a.seq - b.seq)).toEqual(
      [
        { seq: 2, seal: 'good' },
        { seq: 3, seal: 'good' },
      ],
    );
  });
});
