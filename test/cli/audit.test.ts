import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAudit } from '../../services/api/audit.ts';
import { auditRoutes } from '../../services/api/routes/audit.ts';
import type { Server } from '../../services/api/routes/server-types.ts';
import { buildServer } from '../../services/api/server.ts';
import { placeOf, showRecord, showVerified, verifyAudit } from '../../services/cli/audit.ts';
import { createMetrics } from '../../shared/metrics.ts';
import { readAudit } from '../../shared/queue/audit.ts';
import { keys as redisKeys } from '../../shared/queue/keys.ts';
import { createSeal } from '../../shared/queue/signature.ts';
import { callerOfTenant } from '../api/caller.ts';
import { silent, startRedis, type TestRedis } from '../shared/queue/redis.ts';

const keys = [{ id: 'k', secret: 's'.repeat(32) }];
const caller = callerOfTenant('t');

let store: TestRedis;
let server: Server;
let connection: { url: string; key: string };
beforeAll(async () => {
  store = await startRedis();
  server = await buildServer({
    decide: async () => {},
    maxBodyBytes: 1000,
    maxTenantRequests: 1_000,
    authenticate: async () => caller,
    metrics: createMetrics(),
    version: '0.0.0',
    log: silent,
    addRoutes: (scope) =>
      auditRoutes(scope, {
        redis: store.redis,
        seal: createSeal(keys),
        closing: new AbortController().signal,
      }),
  });
  connection = { url: await server.listen({ host: '127.0.0.1', port: 0 }), key: 'k' };
});
afterAll(async () => {
  await server.close();
  await store.stop();
});
beforeEach(() => store.redis.flushall());

async function recorded(count: number): Promise<void> {
  const rules = {
    arguments: 'hash',
    decisions: 'all',
    chain: true,
    retain: 3_600_000,
    redactions: [],
  } as const;
  const audit = createAudit({ redis: store.redis, keys, rules: () => rules, log: silent });
  await audit.start();
  const call = { tool: 'exec', caller, args: {}, jobId: 'job_1' } as const;
  const refused = { call, revision: 'r', rule: null, reason: 'no\nsuch', left: [], shadow: [] };
  for (let at = 0; at < count; at++) audit.decisions([{ ...refused, decision: 'deny' }]);
  await audit.stop();
}

describe('cofferdam audit verify', () => {
  it('finds a log of many pages whole', async () => {
    await recorded(1_500);
    await recorded(700);
    const verified = await verifyAudit(connection);
    expect(showVerified(verified)).toBe('ok: 2202 records, 2 chains');
  });

  it('says what is broken, and where', async () => {
    await recorded(3);
    const [, , third] = await readAudit(store.redis, { most: 10 });
    await store.redis.xdel(redisKeys.audit(), third?.position ?? '');
    const verified = await verifyAudit(connection);
    expect(showVerified(verified)).toMatch(
      /^broken: 3 records, 1 chains\n {2}chain [0-9a-f]{16} at \d+-\d+ - what comes before record 4 is missing or changed$/,
    );
  });

  it('notes what nothing proves', () => {
    const verified = { records: 9, chains: 2, unchained: 3, shortened: 1, unsealed: 2, breaks: [] };
    expect(showVerified(verified)).toBe(
      'ok: 9 records, 2 chains; 1 of them without what retention has dropped; 2 not sealed by a signing key of this server; 3 records outside of any chain, which nothing proves',
    );
  });
});

describe('a record as people read it', () => {
  it('is one line, whatever stands in it', async () => {
    await recorded(1);
    const [begun, decided] = await readAudit(store.redis, { most: 10 });
    expect(begun && showRecord(begun)).toMatch(/^\S+ \(server\) audit\.chain_begun [0-9a-f]{16}$/);
    expect(decided && showRecord(decided)).toMatch(
      /^\S+ t\/user:t exec deny by default job_1 "no\\nsuch"$/,
    );
    expect(showRecord({ position: '1-0', link: null, entry: null })).toBe('1-0 cannot be read');
  });
});

describe('a place in the log', () => {
  it('is a date or a position', () => {
    expect(placeOf('1970-01-01T00:00:01Z')).toBe('1000');
    expect(placeOf('12-3')).toBe('12-3');
    expect(() => placeOf('soon')).toThrow('expected a date');
  });
});
