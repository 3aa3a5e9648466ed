/**
 * One chain of audit records, written over the connection that requests use and never waited for: what is sent behind a
 * record over that connection comes after it in Redis.
 *
 * | state     | meaning                                               | in                          | out                       |
 * | --------- | ----------------------------------------------------- | --------------------------- | ------------------------- |
 * | SENDING   | each record goes out as it comes                      | construction, all sent      | a record was not taken    |
 * | REPAIRING | what was not taken goes out again, one after another  | a record was not taken      | all sent, stop()          |
 *
 * When Redis forgot records that it had taken (a failover, a restore), the chain cannot go on: another one begins.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { type AuditEntry, CHAIN_BEGUN, RECORDS_MISSED } from '../../shared/contract/audit.ts';
import type { Log } from '../../shared/log.ts';
import {
  appendChained,
  appendUnchained,
  type Chained,
  loadAudit,
  readOtherChains,
} from '../../shared/queue/audit.ts';
import { type ChainPlaces, hashOf } from '../../shared/queue/audit-chain.ts';
import type { Seal } from '../../shared/queue/signature.ts';

/** So many records are held while Redis does not take them; the log has the rest. */
const MOST_UNSENT = 10_000;
const REPAIR_PAUSE_MS = 500;
const STOP_WITHIN_MS = 2_000;

export interface AuditWriter {
  /** Before the first record: what the chain says of the others. */
  start(): Promise<void>;
  write(entry: AuditEntry): void;
  /** Outside of the chain. */
  writeUnchained(entry: AuditEntry): void;
  /** Resolves once all records are in Redis, or after `withinMs`: false. */
  sent(withinMs?: number): Promise<boolean>;
  stop(): Promise<void>;
}

export interface AuditWriterOptions {
  readonly redis: Redis;
  readonly seal: Seal;
  readonly log: Log;
  /** Makes an act of the server itself. */
  readonly actOf: (act: string, subject: string, detail: Record<string, unknown>) => AuditEntry;
}

const newChain = (): string => randomBytes(8).toString('hex');

export function createAuditWriter(options: AuditWriterOptions): AuditWriter {
  const { redis, seal, log, actOf } = options;
  let chain = newChain();
  let seq = 0;
  let hash = '';
  let others: ChainPlaces = {};
  /** By number, in their order. */
  const unsent = new Map<number, Chained>();
  const underWay = new Set<Promise<void>>();
  let missed = 0;
  let repairing: Promise<void> | undefined;
  let isStopped = false;

  const load = (): void => void loadAudit(redis).catch(() => {});

  const track = (writing: Promise<void>): void => {
    const tracked = writing.finally(() => underWay.delete(tracked));
    underWay.add(tracked);
  };

  const link = (entry: AuditEntry): Chained => {
    const place = { chain, seq: seq + 1, prev: hash };
    hash = hashOf(place, entry);
    seq++;
    const record = { link: { ...place, hash }, entry };
    unsent.set(seq, record);
    return record;
  };

  const onFailure = (error: unknown): void => {
    if (repairing !== undefined || isStopped) return;
    log.error({ err: error, chain }, 'an audit record was not taken by Redis: it is sent again');
    repairing = repair().finally(() => {
      repairing = undefined;
      if (unsent.size > 0) onFailure(new Error('records came meanwhile'));
    });
  };

  const send = (record: Chained): void => {
    const sending = appendChained(redis, record, seal).then((appended) => {
      if (appended === 'gap') throw new Error('the record before it is not there');
      if (record.link.chain === chain) unsent.delete(record.link.seq);
    });
    track(sending.catch(onFailure));
  };

  const add = (entry: AuditEntry): void => {
    const record = link(entry);
    if (repairing === undefined) send(record);
  };

  const beginAgain = (): void => {
    log.error({ chain, seq }, 'Redis lost audit records: this chain ends, another begins');
    const entries = [...unsent.values()].map(({ entry }) => entry);
    unsent.clear();
    chain = newChain();
    seq = 0;
    hash = '';
    if (entries[0] && !isBeginning(entries[0])) link(actOf(CHAIN_BEGUN, chain, { heads: others }));
    for (const entry of entries) link(entry);
  };

  const repair = async (): Promise<void> => {
    while (!isStopped) {
      const [record] = unsent.values();
      if (record === undefined) {
        if (missed === 0) return;
        link(actOf(RECORDS_MISSED, chain, { count: missed }));
        missed = 0;
        continue;
      }
      try {
        const appended = await appendChained(redis, record, seal);
        if (appended === 'gap') beginAgain();
        else unsent.delete(record.link.seq);
      } catch {
        await sleep(REPAIR_PAUSE_MS, undefined, { ref: false });
      }
    }
  };

  const sent: AuditWriter['sent'] = async (withinMs = STOP_WITHIN_MS) => {
    const late = sleep(withinMs, 'late' as const, { ref: false });
    while (underWay.size > 0 || repairing !== undefined) {
      const all = Promise.allSettled([...underWay, repairing]);
      if ((await Promise.race([all, late])) === 'late') return false;
    }
    return unsent.size === 0;
  };

  return {
    async start() {
      await loadAudit(redis);
      redis.on('ready', load);
      others = await readOtherChains(redis);
    },
    write(entry) {
      if (unsent.size >= MOST_UNSENT) {
        missed++;
        return;
      }
      if (seq === 0) add(actOf(CHAIN_BEGUN, chain, { heads: others }));
      add(entry);
    },
    writeUnchained(entry) {
      const writing = appendUnchained(redis, entry);
      track(
        writing.catch((error: unknown) =>
          log.error({ err: error }, 'an audit record was not written'),
        ),
      );
    },
    sent,
    async stop() {
      if (!(await sent())) log.error({ chain, records: unsent.size }, 'audit records left unsent');
      isStopped = true;
      redis.off('ready', load);
    },
  };
}

const isBeginning = (entry: AuditEntry): boolean =>
  entry.kind === 'act' && entry.act === CHAIN_BEGUN;
