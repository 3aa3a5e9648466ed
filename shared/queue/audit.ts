/**
 * The audit log in Redis: one stream, in which the records of each chain stand in their order, and the head of each
 * chain beside it. A record is added by one script that knows the head, so that sending it twice adds it once.
 */
import type { Redis } from 'ioredis';
import { canonicalJson } from '../canonical-json.ts';
import {
  type AuditEntry,
  type AuditHead,
  type AuditLink,
  type AuditRecord,
  auditEntry,
  auditLink,
} from '../contract/audit.ts';
import type { ChainPlace, ChainPlaces } from './audit-chain.ts';
import { keys } from './keys.ts';
import { defineScript } from './script.ts';
import type { Seal } from './signature.ts';

/* KEYS stream, heads */
const APPEND = defineScript(`
  local head = redis.call('HGET', KEYS[2], ARGV[1])
  local at = head and tonumber(string.match(head, '^%d+')) or 0
  local seq = tonumber(ARGV[2])
  if at >= seq then return 'known' end
  if at + 1 ~= seq then return 'gap' end
  redis.call('XADD', KEYS[1], '*', 'link', ARGV[3], 'entry', ARGV[4])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[5])
  return 'added'
`);

/** Redis must know the script before its first use: what is sent behind it relies on its being executed first. */
export const loadAudit = (redis: Redis): Promise<unknown> => APPEND.load(redis);

export interface Chained {
  readonly link: AuditLink;
  readonly entry: AuditEntry;
}

/** `gap`: the record before it is not there. */
export type Appended = 'added' | 'known' | 'gap';

export async function appendChained(
  redis: Redis,
  { link, entry }: Chained,
  seal: Seal,
): Promise<Appended> {
  const { chain, seq, prev, hash } = link;
  const head = `${seq} ${hash} ${seal.of(chain, seq, hash)}`;
  const args = [chain, seq, `${chain} ${seq} ${hash} ${prev}`, canonicalJson(entry), head];
  return (await APPEND.run(redis, [keys.audit(), keys.auditHeads()], args)) as Appended;
}

export async function appendUnchained(redis: Redis, entry: AuditEntry): Promise<void> {
  await redis.xadd(keys.audit(), '*', 'entry', canonicalJson(entry));
}

/** The records behind a position (none: from the first), oldest first; up to a position where one is given. */
export async function readAudit(
  redis: Redis,
  {
    after,
    before,
    most,
  }: { after?: string | undefined; before?: string | undefined; most: number },
): Promise<AuditRecord[]> {
  // Redis takes it for a fault to be asked what lies before the first of all places.
  if (before !== undefined && /^0+-0+$/.test(before)) return [];
  const from = after === undefined ? '-' : `(${after}`;
  const to = before === undefined ? '+' : `(${before}`;
  return (await redis.xrange(keys.audit(), from, to, 'COUNT', most)).map(recordOf);
}

/** The newest records, oldest of them first. */
export async function readAuditEnd(redis: Redis, most: number): Promise<AuditRecord[]> {
  const found = await redis.xrevrange(keys.audit(), '+', '-', 'COUNT', most);
  return found.map(recordOf).toReversed();
}

/** Nothing that comes out of Redis is trusted, ours included: what cannot be read is shown as such. */
function recordOf([position, flat]: [string, string[]]): AuditRecord {
  const fields = new Map<string, string>();
  for (let at = 0; at + 1 < flat.length; at += 2)
    fields.set(flat[at] as string, flat[at + 1] as string);
  const said = fields.get('link');
  const [chain, seq, hash, prev] = said?.split(' ') ?? [];
  const link =
    said === undefined ? null : auditLink.safeParse({ chain, seq: Number(seq), prev, hash });
  const entry = entryOf(fields.get('entry') ?? '');
  if (link?.success === false) return { position, link: null, entry: null };
  return { position, link: link?.data ?? null, entry };
}

function entryOf(text: string): AuditEntry | null {
  try {
    return auditEntry.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

export async function readAuditHeads(redis: Redis, seal: Seal): Promise<AuditHead[]> {
  const heads = await redis.hgetall(keys.auditHeads());
  return Object.entries(heads).map(([chain, head]) => {
    const [seq, hash = '', by = ''] = head.split(' ');
    const place = { chain, seq: Number(seq), hash };
    return { ...place, seal: seal.check(place, by) };
  });
}

/** What retention drops next: some of the oldest records. */
export interface Expired {
  readonly count: number;
  /** What is before this position goes. */
  readonly upTo: string;
  /** Of every chain that was ever shortened the last record that is gone, and since when it is. */
  readonly dropped: Readonly<Record<string, ChainPlace & { readonly ms: number }>>;
  /** Chains of which nothing is left, nor of what named them: their heads go too. */
  readonly forgotten: readonly string[];
}

const msOf = (position: string): number => Number(position.split('-')[0]);

/** Undefined when nothing has to go: no record is older than `retainMs`, and there are no more than `mostRecords`. */
export async function findExpired(
  redis: Redis,
  limits: { nowMs: number; retainMs: number; mostRecords: number; most: number },
): Promise<Expired | undefined> {
  const { nowMs, retainMs, mostRecords, most } = limits;
  const surplus = (await redis.xlen(keys.audit())) - mostRecords;
  const isOld = (ms: number): boolean => ms < nowMs - retainMs;
  const [first] = await readAudit(redis, { most: 1 });
  if (first === undefined || (surplus <= 0 && !isOld(msOf(first.position)))) return undefined;
  const expired = (await readAudit(redis, { most })).filter(
    ({ position }, index) => index < surplus || isOld(msOf(position)),
  );
  const last = expired.at(-1) ?? first;
  const [heads, anchors] = await Promise.all([
    redis.hgetall(keys.auditHeads()),
    redis.hgetall(keys.auditAnchors()),
  ]);
  const dropped = new Map(Object.entries(anchors).map(([chain, text]) => [chain, anchorOf(text)]));
  for (const { link } of expired) {
    if (link) dropped.set(link.chain, { seq: link.seq, hash: link.hash, ms: nowMs });
  }
  const forgotten = [...dropped]
    .filter(([chain, { seq, ms }]) => isOld(ms) && seqOf(heads[chain]) === seq)
    .map(([chain]) => chain);
  for (const chain of forgotten) dropped.delete(chain);
  const [ms, within] = last.position.split('-');
  const upTo = `${ms}-${Number(within) + 1}`;
  return { count: expired.length, upTo, dropped: Object.fromEntries(dropped), forgotten };
}

const seqOf = (head = '0'): number => Number(head.split(' ')[0]);

function anchorOf(text: string): ChainPlace & { ms: number } {
  const [seq, hash = '', ms] = text.split(' ');
  return { seq: Number(seq), hash, ms: Number(ms) };
}

/** To be called once the log itself says what goes. */
export async function dropExpired(redis: Redis, expired: Expired): Promise<void> {
  const transaction = redis.multi().xtrim(keys.audit(), 'MINID', expired.upTo);
  for (const [chain, { seq, hash, ms }] of Object.entries(expired.dropped)) {
    transaction.hset(keys.auditAnchors(), chain, `${seq} ${hash} ${ms}`);
  }
  for (const chain of expired.forgotten) {
    transaction.hdel(keys.auditHeads(), chain).hdel(keys.auditAnchors(), chain);
  }
  for (const [error] of (await transaction.exec()) ?? []) if (error) throw error;
}

/** The heads of chains of which something is left: what a new chain says of the others. */
export async function readOtherChains(redis: Redis): Promise<ChainPlaces> {
  const [heads, anchors] = await Promise.all([
    redis.hgetall(keys.auditHeads()),
    redis.hgetall(keys.auditAnchors()),
  ]);
  const places: Record<string, ChainPlace> = {};
  for (const [chain, head] of Object.entries(heads)) {
    const [seq, hash = ''] = head.split(' ');
    if (seqOf(anchors[chain]) < Number(seq)) places[chain] = { seq: Number(seq), hash };
  }
  return places;
}
