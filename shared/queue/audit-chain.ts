/**
 * Chains of audit records, and the proof that nobody touched them. One chain for each API process, so that no record
 * waits for another process. What each kind of tampering breaks:
 *
 * | tampering             | seen by                                                                              |
 * | --------------------- | ------------------------------------------------------------------------------------ |
 * | a changed record      | its hash                                                                             |
 * | removed, inserted     | the numbers, and the hash that the next one names                                    |
 * | other order           | the numbers                                                                          |
 * | cut at the end        | the head of the chain, which is sealed with a signing key                            |
 * | a whole chain removed | its head; with its head gone, what a later chain's first record says of other chains |
 * | cut at the beginning  | no `audit.records_dropped` names the last one that is gone                                 |
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from '../canonical-json.ts';
import {
  type AuditEntry,
  type AuditHead,
  type AuditLink,
  type AuditRecord,
  CHAIN_BEGUN,
  RECORDS_DROPPED,
} from '../contract/audit.ts';

export interface ChainPlace {
  readonly seq: number;
  readonly hash: string;
}

export type ChainPlaces = Readonly<Record<string, ChainPlace>>;

/** By chain: other heads in the detail of CHAIN_BEGUN, the last records dropped in that of RECORDS_DROPPED. */
export const chainPlaces = z.record(
  z.string(),
  z.strictObject({ seq: z.int().positive(), hash: z.string() }),
);

export const hashOf = ({ chain, seq, prev }: Omit<AuditLink, 'hash'>, entry: AuditEntry): string =>
  createHash('sha256')
    .update(`${prev}\n${canonicalJson({ chain, seq, entry })}`)
    .digest('hex');

/** What is wrong with a chain, and where. */
export interface Break {
  readonly chain: string;
  /** Of the record at which it was seen; null: at the end of the chain. */
  readonly position: string | null;
  readonly what: string;
}

export interface Verified {
  readonly records: number;
  readonly chains: number;
  /** Written while the policy said `chain: false`: nothing proves them. */
  readonly unchained: number;
  /** Of the chains, those whose beginning retention dropped, as the log itself says. */
  readonly shortened: number;
  /** Chains whose end no signing key vouches for: whoever can write to Redis can have cut them. */
  readonly unsealed: number;
  readonly breaks: readonly Break[];
}

interface Linked {
  readonly link: AuditLink;
  readonly position: string;
  readonly entry: AuditEntry;
}

/** What a record of a chain says of what retention dropped of another. */
interface Drop {
  readonly by: string;
  readonly chain: string;
  readonly place: ChainPlace;
}

/** So many breaks are told; where all is wrong, more say nothing new. */
const MOST_BREAKS = 100;

/**
 * Takes all records in the order of the log. `before` are the heads as they were read before the records, and name
 * nothing that was written later; those read after them name every chain.
 */
export function createVerification(before: readonly AuditHead[]) {
  const breaks: Break[] = [];
  const last = new Map<string, ChainPlace>();
  const heads = new Map(before.map((head) => [head.chain, head]));
  const reached = new Set<string>();
  const beginnings: Linked[] = [];
  const drops: Drop[] = [];
  const dropped = new Map<string, Map<number, string>>();
  const told = new Map<string, number>();
  let records = 0;
  let unchained = 0;

  const broken = (chain: string, position: string | null, what: string): void => {
    if (breaks.length < MOST_BREAKS) breaks.push({ chain, position, what });
  };

  const noteAct = (by: string, entry: AuditEntry): void => {
    if (entry.kind !== 'act') return;
    if (entry.act === RECORDS_DROPPED) {
      for (const [chain, place] of placesIn(entry.detail.dropped)) drops.push({ by, chain, place });
    }
    if (entry.act === CHAIN_BEGUN) {
      for (const [chain, { seq }] of placesIn(entry.detail.heads)) {
        told.set(chain, Math.max(seq, told.get(chain) ?? 0));
      }
    }
  };

  const noteLink = ({ link, position, entry }: Linked): void => {
    const { chain, seq, prev, hash } = link;
    const former = last.get(chain);
    last.set(chain, { seq, hash });
    if (hashOf(link, entry) !== hash) broken(chain, position, `record ${seq} was changed`);
    const isNext =
      former === undefined
        ? seq === 1 && prev === ''
        : seq === former.seq + 1 && prev === former.hash;
    if (!isNext) beginnings.push({ link, position, entry });
    const head = heads.get(chain);
    if (head?.seq !== seq) return;
    reached.add(chain);
    if (head.hash !== hash) broken(chain, position, `record ${seq} is not what its head names`);
  };

  /** Where there are sealed chains, one that is not may have been made up: its word counts for nothing. */
  const weighDrops = (after: readonly AuditHead[]): void => {
    const sealed = new Set(after.filter(({ seal }) => seal === 'good').map(({ chain }) => chain));
    for (const { by, chain, place } of drops) {
      if (sealed.size > 0 && !sealed.has(by)) continue;
      const places = dropped.get(chain) ?? new Map<number, string>();
      dropped.set(chain, places.set(place.seq, place.hash));
    }
  };

  const droppedUpTo = (chain: string): number => Math.max(0, ...(dropped.get(chain)?.keys() ?? []));

  /** Chains whose first record is not their first: retention dropped what came before, and says so later in the log. */
  const shortenedChains = (): Set<string> => {
    const shortened = new Set<string>();
    for (const { link, position } of beginnings) {
      const { chain, seq, prev } = link;
      if (seq > 1 && dropped.get(chain)?.get(seq - 1) === prev) shortened.add(chain);
      else broken(chain, position, `what comes before record ${seq} is missing or changed`);
    }
    return shortened;
  };

  const compareHeads = (after: readonly AuditHead[]): void => {
    for (const { chain, seq, seal } of before) {
      if (seal === 'wrong') broken(chain, null, 'the seal of its head is wrong');
      if (reached.has(chain) || seq <= droppedUpTo(chain)) continue;
      const found = last.get(chain)?.seq ?? 0;
      broken(chain, null, `its head names record ${seq}; the last one here is record ${found}`);
    }
    const known = new Set(after.map(({ chain }) => chain));
    for (const chain of last.keys()) if (!known.has(chain)) broken(chain, null, 'it has no head');
    for (const [chain, seq] of told) {
      const isGone = !last.has(chain) && !heads.has(chain) && droppedUpTo(chain) < seq;
      if (isGone) broken(chain, null, `all of its records are gone, ${seq} at the least`);
    }
  };

  return {
    add(record: AuditRecord): void {
      const { link, position, entry } = record;
      records++;
      if (entry === null) broken(link?.chain ?? '', position, 'it cannot be read');
      else if (link === null) unchained++;
      else {
        noteAct(link.chain, entry);
        noteLink({ link, position, entry });
      }
    },
    finish(after: readonly AuditHead[]): Verified {
      weighDrops(after);
      const shortened = shortenedChains().size;
      compareHeads(after);
      const unsealed = before.filter(({ seal }) => seal === 'none').length;
      return { records, chains: last.size, unchained, shortened, unsealed, breaks };
    },
  };
}

/** What a record of another version says there counts for nothing. */
const placesIn = (detail: unknown): [string, ChainPlace][] =>
  Object.entries(chainPlaces.safeParse(detail).data ?? {});
