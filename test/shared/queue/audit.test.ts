import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AuditEntry } from '../../../shared/contract/audit.ts';
import {
  appendChained,
  appendUnchained,
  type Chained,
  dropExpired,
  findExpired,
  readAudit,
  readAuditEnd,
  readAuditHeads,
  readOtherChains,
} from '../../../shared/queue/audit.ts';
import { hashOf } from '../../../shared/queue/audit-chain.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { createSeal } from '../../../shared/queue/signature.ts';
import { startRedis, type TestRedis } from './redis.ts';

const seal = createSeal([{ id: 'k', secret: 's'.repeat(32) }]);
const HOUR = 3_600_000;

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(() => server.redis.flushall());

const entry = (subject: string): AuditEntry => ({
  kind: 'act',
  id: subject,
  time: '2026-01-01T00:00:00.000Z',
  caller: null,
  act: 'key.make',
  subject,
  detail: {},
});

function chainOf(chain: string, count: number): Chained[] {
  const records: Chained[] = [];
  for (let seq = 1; seq <= count; seq++) {
    const place = { chain, seq, prev: records.at(-1)?.link.hash ?? '' };
    const one = entry(`${chain}${seq}`);
    records.push({ entry: one, link: { ...place, hash: hashOf(place, one) } });
  }
  return records;
}

const written = async (...chains: Chained[][]): Promise<void> => {
  for (const record of chains.flat()) await appendChained(server.redis, record, seal);
};
const subjects = async () =>
  (await readAudit(server.redis, { most: 100 })).map((record) =>
    record.entry?.kind === 'act' ? record.entry.subject : null,
  );

describe('a record of a chain', () => {
  it('is written once, however often it is sent', async () => {
    const [one] = chainOf('a', 1) as [Chained];
    expect(await appendChained(server.redis, one, seal)).toBe('added');
    expect(await appendChained(server.redis, one, seal)).toBe('known');
    expect(await subjects()).toEqual(['a1']);
  });

  it('is not written before the one that it follows', async () => {
    const [, second] = chainOf('a', 2) as [Chained, Chained];
    expect(await appendChained(server.redis, second, seal)).toBe('gap');
    expect(await subjects()).toEqual([]);
  });

  it('moves the sealed head of its chain', async () => {
    const chain = chainOf('a', 2);
    await written(chain);
    const { hash } = (chain[1] as Chained).link;
    const head = { chain: 'a', seq: 2, hash };
    expect(await readAuditHeads(server.redis, seal)).toEqual([{ ...head, seal: 'good' }]);
    const other = createSeal([{ id: 'k', secret: 'x'.repeat(32) }]);
    expect(await readAuditHeads(server.redis, other)).toEqual([{ ...head, seal: 'wrong' }]);
    expect(await readAuditHeads(server.redis, createSeal([]))).toEqual([{ ...head, seal: 'none' }]);
  });

  it('is read as it was written, behind a position and before another, or from the end', async () => {
    const chain = chainOf('a', 3);
    await written(chain);
    await appendUnchained(server.redis, entry('loose'));
    const all = await readAudit(server.redis, { most: 10 });
    expect(all.map(({ link, entry }) => ({ link, entry }))).toEqual([
      ...chain,
      { link: null, entry: entry('loose') },
    ]);
    const [first, second, third] = all.map(({ position }) => position);
    const between = await readAudit(server.redis, { after: first, before: third, most: 10 });
    expect(between.map(({ position }) => position)).toEqual([second]);
    expect(await readAuditEnd(server.redis, 2)).toEqual(all.slice(2));
  });

  it('that cannot be read is shown as such, and hides nothing behind it', async () => {
    await written(chainOf('a', 1));
    await server.redis.xadd(keys.audit(), '*', 'link', 'a two x', 'entry', '{}');
    await server.redis.xadd(keys.audit(), '*', 'entry', 'not json');
    await server.redis.xadd(keys.audit(), '*', 'something', 'else');
    await appendUnchained(server.redis, entry('after'));
    expect(await subjects()).toEqual(['a1', null, null, null, 'after']);
  });
});

describe('retention', () => {
  const find = (over: Partial<Parameters<typeof findExpired>[1]> = {}) =>
    findExpired(server.redis, {
      nowMs: Date.now(),
      retainMs: HOUR,
      mostRecords: 100,
      most: 100,
      ...over,
    });

  it('drops nothing that is young and has room', async () => {
    await written(chainOf('a', 3));
    expect(await find()).toBeUndefined();
    await server.redis.flushall();
    expect(await find()).toBeUndefined();
  });

  it('drops the oldest past the most that are kept, and knows the last of each chain', async () => {
    const a = chainOf('a', 2);
    await written(a, chainOf('b', 2));
    const expired = await find({ mostRecords: 1 });
    expect(expired).toMatchObject({
      count: 3,
      dropped: { a: { seq: 2, hash: a[1]?.link.hash }, b: { seq: 1 } },
      forgotten: [],
    });
    await dropExpired(server.redis, expired as NonNullable<typeof expired>);
    expect(await subjects()).toEqual(['b2']);
    await written(chainOf('a', 3));
    const next = await find({ mostRecords: 1 });
    expect(next).toMatchObject({ count: 1, dropped: { a: { seq: 2 }, b: { seq: 2 } } });
  });

  it('drops what is too old, and only that', async () => {
    await written(chainOf('a', 2));
    const nowMs = Date.now() + HOUR + 1_000;
    expect(await find({ nowMs, most: 1 })).toMatchObject({ count: 1, dropped: { a: { seq: 1 } } });
    expect(await find({ nowMs: nowMs - 2_000 })).toBeUndefined();
  });

  it('says nothing of a chain of which nothing is left, and forgets it in the end', async () => {
    await written(chainOf('a', 2));
    const nowMs = Date.now() + HOUR + 1_000;
    const expired = await find({ nowMs });
    await dropExpired(server.redis, expired as NonNullable<typeof expired>);
    expect(await readOtherChains(server.redis)).toEqual({});
    expect(await readAuditHeads(server.redis, seal)).toHaveLength(1);
    await written(chainOf('b', 1));
    expect(Object.keys(await readOtherChains(server.redis))).toEqual(['b']);
    const later = await find({ nowMs: nowMs + 2 * HOUR });
    expect(later?.forgotten).toEqual(['a']);
    await dropExpired(server.redis, later as NonNullable<typeof later>);
    expect(await server.redis.hkeys(keys.auditHeads())).toEqual(['b']);
    expect(await server.redis.hkeys(keys.auditAnchors())).toEqual(['b']);
  });
});
