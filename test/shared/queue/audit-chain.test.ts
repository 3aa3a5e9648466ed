import { describe, expect, it } from 'vitest';
import {
  type AuditEntry,
  type AuditHead,
  type AuditRecord,
  CHAIN_BEGUN,
  RECORDS_DROPPED,
} from '../../../shared/contract/audit.ts';
import { createVerification, hashOf } from '../../../shared/queue/audit-chain.ts';

const actOf = (subject: string, act = 'key.make', detail = {}): AuditEntry => ({
  kind: 'act',
  id: subject,
  time: '2026-01-01T00:00:00.000Z',
  caller: null,
  act,
  subject,
  detail,
});

/** A log of some chains, written in turn. */
function aLog() {
  const records: AuditRecord[] = [];
  const heads = new Map<string, AuditHead>();
  return {
    records,
    heads: () => [...heads.values()],
    write(chain: string, entry = actOf(`${records.length}`)) {
      const before = heads.get(chain);
      const place = { chain, seq: (before?.seq ?? 0) + 1, prev: before?.hash ?? '' };
      const hash = hashOf(place, entry);
      heads.set(chain, { chain, seq: place.seq, hash, seal: 'good' });
      records.push({ position: `${records.length}-0`, link: { ...place, hash }, entry });
    },
  };
}

function twoChains() {
  const log = aLog();
  for (let at = 0; at < 6; at++) log.write(at % 2 === 0 ? 'a' : 'b');
  return log;
}

function verify(records: readonly AuditRecord[], before: AuditHead[], after = before) {
  const verification = createVerification(before);
  for (const record of records) verification.add(record);
  return verification.finish(after);
}

const linkOf = ({ link }: AuditRecord) => link as NonNullable<AuditRecord['link']>;

describe('a log that nobody touched', () => {
  it('is whole', () => {
    const { records, heads } = twoChains();
    expect(verify(records, heads())).toEqual({
      records: 6,
      chains: 2,
      unchained: 0,
      shortened: 0,
      unsealed: 0,
      breaks: [],
    });
  });

  it('is whole with what was written while it was read', () => {
    const log = twoChains();
    const before = log.heads();
    log.write('a');
    log.write('young');
    expect(verify(log.records, before, log.heads()).breaks).toEqual([]);
  });

  it('counts what no chain and no key vouches for', () => {
    const { records, heads } = twoChains();
    const loose: AuditRecord = { position: '9-0', link: null, entry: actOf('loose') };
    const unsealed = heads().map((head) => ({ ...head, seal: 'none' as const }));
    expect(verify([...records, loose], unsealed)).toMatchObject({
      unchained: 1,
      unsealed: 2,
      breaks: [],
    });
  });

  it('is whole without what retention dropped, as it says itself', () => {
    const log = twoChains();
    const { seq, hash } = linkOf(log.records[2] as AuditRecord);
    log.write('b', actOf('x', RECORDS_DROPPED, { dropped: { a: { seq, hash } } }));
    const rest = log.records.filter(({ link }) => link?.chain !== 'a' || link.seq > seq);
    expect(verify(rest, log.heads())).toMatchObject({ shortened: 1, breaks: [] });
  });

  it('is whole when retention drops records while it is read', () => {
    const log = twoChains();
    const before = log.heads();
    const { seq, hash } = linkOf(log.records[2] as AuditRecord);
    log.write('b', actOf('x', RECORDS_DROPPED, { dropped: { a: { seq, hash } } }));
    const seen = log.records.filter(({ link }) => link?.chain !== 'a' || link.seq !== seq);
    expect(verify(seen, before, log.heads()).breaks).toEqual([]);
  });
});

describe('tampering is seen:', () => {
  type Tamper = (records: AuditRecord[], heads: AuditHead[]) => void;
  const change =
    (at: number, over: (record: AuditRecord) => AuditRecord): Tamper =>
    (records) => {
      records[at] = over(records[at] as AuditRecord);
    };
  const relinked = (record: AuditRecord, entry: AuditEntry): AuditRecord => {
    const link = { ...linkOf(record) };
    return { ...record, entry, link: { ...link, hash: hashOf(link, entry) } };
  };
  const CASES: Readonly<Record<string, readonly [Tamper, RegExp]>> = {
    'a changed entry': [
      change(2, (one) => ({ ...one, entry: actOf('other') })),
      /record 2 was changed/,
    ],
    'a changed entry with a new hash': [
      change(2, (one) => relinked(one, actOf('other'))),
      /before record 3/,
    ],
    'a changed last entry with a new hash': [
      change(4, (one) => relinked(one, actOf('other'))),
      /head names/,
    ],
    'a removed record': [(records) => records.splice(2, 1), /before record 3 is missing/],
    'a removed first record': [(records) => records.splice(0, 1), /before record 2 is missing/],
    'an inserted record': [
      (records) => records.splice(3, 0, relinked(records[2] as AuditRecord, actOf('new'))),
      /before record 2 is missing or changed/,
    ],
    'the same record twice': [
      (records) => records.splice(3, 0, records[2] as AuditRecord),
      /before record 2 is missing or changed/,
    ],
    'another order': [
      (records) => records.splice(0, 5, ...records.slice(0, 5).toReversed()),
      /before record/,
    ],
    'a cut at the end': [
      (records) => records.splice(4, 2),
      /its head names record 3; the last one here is record 2/,
    ],
    'all records of a chain gone': [
      (records) => records.splice(0, 6, ...records.filter(({ link }) => link?.chain !== 'a')),
      /the last one here is record 0/,
    ],
    'a chain without a head': [(_, heads) => heads.splice(0, 1), /it has no head/],
    'a head with a wrong seal': [
      (_, heads) => heads.splice(0, 1, { ...(heads[0] as AuditHead), seal: 'wrong' }),
      /seal of its head is wrong/,
    ],
    'something that cannot be read': [
      change(2, (one) => ({ ...one, link: null, entry: null })),
      /cannot be read/,
    ],
    'a record taken out of its chain': [
      change(2, (one) => ({ ...one, link: null })),
      /before record 3 is missing/,
    ],
  };

  it.each(Object.entries(CASES))('%s', (_, [tamper, what]) => {
    const log = twoChains();
    const heads = log.heads();
    tamper(log.records, heads);
    const { breaks } = verify(log.records, heads);
    expect(breaks.map((one) => one.what).join('\n')).toMatch(what);
  });

  it('a whole chain gone with its head, once another chain began', () => {
    const log = twoChains();
    const others = Object.fromEntries(
      log.heads().map(({ chain, seq, hash }) => [chain, { seq, hash }]),
    );
    log.write('c', actOf('c', CHAIN_BEGUN, { heads: others }));
    const rest = log.records.filter(({ link }) => link?.chain !== 'a');
    const heads = log.heads().filter(({ chain }) => chain !== 'a');
    expect(verify(rest, heads).breaks).toEqual([
      { chain: 'a', position: null, what: 'all of its records are gone, 3 at the least' },
    ]);
  });

  it('more gone at the beginning than retention says', () => {
    const log = twoChains();
    const { seq, hash } = linkOf(log.records[0] as AuditRecord);
    log.write('b', actOf('x', RECORDS_DROPPED, { dropped: { a: { seq, hash } } }));
    const rest = log.records.filter(({ link }) => link?.chain !== 'a' || link.seq > 2);
    expect(verify(rest, log.heads()).breaks).toMatchObject([{ chain: 'a' }]);
  });

  it('what says that retention dropped it stands in a chain without a seal, among sealed ones', () => {
    const log = twoChains();
    const { seq, hash } = linkOf(log.records[0] as AuditRecord);
    log.write('forged', actOf('x', RECORDS_DROPPED, { dropped: { a: { seq, hash } } }));
    const heads = log
      .heads()
      .map((head) => (head.chain === 'forged' ? { ...head, seal: 'none' as const } : head));
    expect(verify(log.records.slice(1), heads).breaks).toMatchObject([{ chain: 'a' }]);
  });

  it('what says that retention dropped it stands in no chain', () => {
    const log = twoChains();
    const { seq, hash } = linkOf(log.records[0] as AuditRecord);
    const forged = actOf('x', RECORDS_DROPPED, { dropped: { a: { seq, hash } } });
    const rest = [...log.records.slice(1), { position: '9-0', link: null, entry: forged }];
    expect(verify(rest, log.heads()).breaks).toMatchObject([{ chain: 'a' }]);
  });
});
