import { Writable } from 'node:stream';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type AuditRules, createAudit, type Decided } from '../../services/api/audit.ts';
import { type AuditRecord, CHAIN_BEGUN, RECORDS_DROPPED } from '../../shared/contract/audit.ts';
import { readAudit, readAuditHeads } from '../../shared/queue/audit.ts';
import { createVerification } from '../../shared/queue/audit-chain.ts';
import { keys } from '../../shared/queue/keys.ts';
import { createSeal } from '../../shared/queue/signature.ts';
import { startRedis, type TestRedis } from '../shared/queue/redis.ts';
import { callerOfTenant } from './caller.ts';

const signingKeys = [{ id: 'k', secret: 's'.repeat(32) }];
const RULES: AuditRules = {
  arguments: 'hash',
  decisions: 'all',
  chain: true,
  retain: 3_600_000,
  redactions: [],
};

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(() => server.redis.flushall());

async function anAudit(rules: Partial<AuditRules> = {}, mostRecords = 10_000) {
  const lines: string[] = [];
  const sink = new Writable({
    write(chunk, _, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const audit = createAudit({
    redis: server.redis,
    keys: signingKeys,
    rules: () => ({ ...RULES, ...rules }),
    log: pino({ level: 'debug' }, sink),
    mostRecords,
  });
  await audit.start();
  return { audit, lines };
}

const caller = callerOfTenant('t', { session: 's1' });
const decided = (over: Partial<Decided> = {}, call: Partial<Decided['call']> = {}): Decided => ({
  revision: 'r1',
  call: { tool: 'exec', caller, args: { command: ['true'] }, jobId: 'job_1', ...call },
  decision: 'allow',
  rule: 'may-exec',
  reason: 'because',
  left: [{ rule: 'may-exec', left: 9 }],
  shadow: [],
  ...over,
});
const all = (): Promise<AuditRecord[]> => readAudit(server.redis, { most: 1000 });
const entries = async () =>
  (await all()).flatMap(({ entry }) =>
    entry === null || (entry.kind === 'act' && entry.act === CHAIN_BEGUN) ? [] : [entry],
  );
async function verified() {
  const seal = createSeal(signingKeys);
  const verification = createVerification(await readAuditHeads(server.redis, seal));
  for (const record of await all()) verification.add(record);
  return verification.finish(await readAuditHeads(server.redis, seal));
}

describe('a decision', () => {
  it('is recorded with who asked, for what, what was decided, by which rule and why', async () => {
    const { audit, lines } = await anAudit();
    audit.decisions([decided()]);
    await audit.stop();
    const [entry] = await entries();
    expect(entry).toMatchObject({
      kind: 'decision',
      caller: { tenant: 't', grant: 'key-of-t', name: 'user:t' },
      revision: 'r1',
      session: 's1',
      tool: 'exec',
      argsHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      decision: 'allow',
      rule: 'may-exec',
      reason: 'because',
      limits: [{ rule: 'may-exec', left: 9 }],
      shadow: [],
      job: 'job_1',
      batch: null,
    });
    const line = lines.map((one) => JSON.parse(one) as { msg: string; audit: object });
    expect(line.filter(({ msg }) => msg === 'audit').map(({ audit }) => audit)).toEqual([entry]);
    expect((await verified()).breaks).toEqual([]);
  });

  it('stands in Redis before what is sent behind it over the same connection', async () => {
    const { audit } = await anAudit();
    audit.decisions([decided()]);
    const seen = await server.redis.xlen(keys.audit());
    expect(seen).toBe(2);
    await audit.stop();
  });

  it('that allows is left out where the policy wants refusals alone', async () => {
    const { audit } = await anAudit({ decisions: 'denied' });
    audit.decisions([decided()]);
    audit.decisions([
      decided({ decision: 'rate_limited' }),
      decided({ decision: 'require_approval' }),
    ]);
    await audit.stop();
    expect((await entries()).map((one) => one.kind === 'decision' && one.decision)).toEqual([
      'rate_limited',
      'require_approval',
    ]);
  });

  it('of a batch is one record for all that a rule allows, and one for each refusal', async () => {
    const { audit } = await anAudit({ arguments: 'full' });
    const jobs = Array.from({ length: 10 }, (_, index) =>
      decided(index === 4 || index === 7 ? { decision: 'deny', rule: 'no' } : {}, {
        tool: 'exec_batch',
        batch: { id: 'bat_1', index: 100 + index },
        jobId: `job_${index}`,
      }),
    );
    audit.decisions(jobs);
    await audit.stop();
    expect(await entries()).toMatchObject([
      { decision: 'allow', job: null, batch: { id: 'bat_1', count: 8, first: 100, last: 109 } },
      { decision: 'deny', job: 'job_4', batch: { id: 'bat_1', count: 1, first: 104, last: 104 } },
      { decision: 'deny', job: 'job_7', batch: { id: 'bat_1', count: 1, first: 107, last: 107 } },
    ]);
  });

  it('with a secret in its arguments shows it nowhere: neither in the log nor in Redis', async () => {
    const canary = 'canary-3f7a';
    for (const kept of ['none', 'hash', 'redacted'] as const) {
      const redactions = [{ pattern: 'canary-[0-9a-f]+', replacement: '***' }];
      const { audit, lines } = await anAudit({ arguments: kept, redactions });
      const args = {
        command: ['deploy', `--key=${canary}`],
        env: { TOKEN: canary },
        stdin: canary,
        files: [{ path: 'a', content: canary }],
      };
      audit.decisions([decided({}, { args }), decided({ decision: 'deny' }, { args })]);
      audit.decisions([decided({}, { args, batch: { id: 'bat_1', index: 0 } })]);
      await audit.stop();
      expect(JSON.stringify(await all())).not.toContain(canary);
      expect(lines.join('')).not.toContain(canary);
      expect(lines.join('')).toContain('"audit"');
    }
  });

  it('with full arguments has them in Redis, and not in the log', async () => {
    const { audit, lines } = await anAudit({ arguments: 'full' });
    audit.decisions([decided({}, { args: { command: ['shown'] } })]);
    await audit.stop();
    expect(await entries()).toMatchObject([{ args: { command: ['shown'] } }]);
    expect(lines.join('')).not.toContain('shown');
  });
});

describe('an act of administration', () => {
  it('is recorded with who did what to what, whatever the policy wants of decisions', async () => {
    const { audit } = await anAudit({ decisions: 'denied', arguments: 'none' });
    const detail = { scopes: ['admin'], at: new Date(0), gone: undefined };
    audit.act({ actor: caller, act: 'key.make', subject: 'abc', detail });
    audit.act({ actor: null, act: 'policy.reload', subject: 'r2', detail: {} });
    await audit.stop();
    expect(await entries()).toMatchObject([
      {
        act: 'key.make',
        subject: 'abc',
        caller: { grant: 'key-of-t' },
        detail: { scopes: ['admin'], at: '1970-01-01T00:00:00.000Z' },
      },
      { act: 'policy.reload', caller: null },
    ]);
    expect((await verified()).breaks).toEqual([]);
  });
});

describe('the chains', () => {
  it('of several processes stand side by side, and all of them hold', async () => {
    const processes = await Promise.all([anAudit(), anAudit(), anAudit()]);
    for (let at = 0; at < 60; at++) processes[at % 3]?.audit.decisions([decided()]);
    await Promise.all(processes.map(({ audit }) => audit.stop()));
    expect(await verified()).toMatchObject({ records: 63, chains: 3, unsealed: 0, breaks: [] });
  });

  it('tell of those that were there before: one that is gone altogether is missed', async () => {
    const first = await anAudit();
    first.audit.decisions([decided()]);
    await first.audit.stop();
    const [{ link }] = (await all()) as [AuditRecord];
    const second = await anAudit();
    second.audit.decisions([decided()]);
    await second.audit.stop();
    for (const record of await all()) {
      if (record.link?.chain === link?.chain)
        await server.redis.xdel(keys.audit(), record.position);
    }
    await server.redis.hdel(keys.auditHeads(), link?.chain ?? '');
    expect((await verified()).breaks).toMatchObject([{ chain: link?.chain }]);
  });

  it('are left out where the policy wants none, and what they would prove is not proven', async () => {
    const { audit } = await anAudit({ chain: false });
    audit.decisions([decided()]);
    await audit.stop();
    expect(await verified()).toMatchObject({ chains: 0, unchained: 1, breaks: [] });
  });

  it('of an act is there whatever the policy says, for it may be what turned the chain off', async () => {
    const { audit } = await anAudit({ chain: false });
    audit.act({ actor: null, act: 'policy.put', subject: 'r2', detail: {} });
    await audit.stop();
    expect(await verified()).toMatchObject({ chains: 1, unchained: 0, breaks: [] });
  });

  it('hold when the oldest records are dropped, which they say themselves', async () => {
    const { audit } = await anAudit({}, 20);
    for (let at = 0; at < 50; at++) audit.decisions([decided()]);
    await audit.sent();
    await audit.retain();
    const left = await all();
    expect(left.length).toBeLessThanOrEqual(22);
    expect(left.at(-1)?.entry).toMatchObject({ act: RECORDS_DROPPED });
    audit.decisions([decided()]);
    await audit.stop();
    expect(await verified()).toMatchObject({ shortened: 1, breaks: [] });
  });

  it('drop nothing before the record of it is written', async () => {
    const { audit } = await anAudit({}, 1);
    audit.decisions([decided()]);
    await audit.sent();
    await server.redis.config('SET', 'maxmemory', '1');
    const before = await server.redis.xlen(keys.audit());
    await audit.retain().catch(() => {});
    expect(await server.redis.xlen(keys.audit())).toBe(before);
    await server.redis.config('SET', 'maxmemory', '0');
    await audit.stop();
    expect((await verified()).breaks).toEqual([]);
  });
});
