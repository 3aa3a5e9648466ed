/**
 * Mends what a crash between two steps left: jobs that were recorded but not enqueued, jobs whose time to start or to
 * be approved is over, jobs whose worker fell silent past every limit, uploads that nobody goes on with, approvers who
 * were not told. And it cancels the jobs of batches that are to stop. Every API process sweeps; doing it twice changes
 * nothing.
 */
import type { Redis } from 'ioredis';
import type { Outcome } from '../../shared/contract/result.ts';
import type { Log } from '../../shared/log.ts';
import { stopBatch } from '../../shared/queue/batch-record.ts';
import { type Entrance, UNQUEUED_AFTER_MS } from '../../shared/queue/entrance.ts';
import { type JobRecord, readRecords, turnOf } from '../../shared/queue/job-record.ts';
import { keys } from '../../shared/queue/keys.ts';
import { type Coming, correctTurns, rebaseLanes } from '../../shared/queue/rebase.ts';
import { settleWithoutRun } from '../../shared/queue/settle-without-run.ts';
import { type ExpiryParts, expireApprovals } from './approvals/expire.ts';
import type { Canceller } from './canceller.ts';

const SWEEP_MS = 2_000;
const AT_ONCE = 500;
/** How long an upload that broke off can be taken up again. */
export const OPEN_BATCH_MS = 15 * 60_000;

export interface Sweeper {
  start(): void;
  stop(): Promise<void>;
}

export function createSweeper(options: {
  redis: Redis;
  entrance: Entrance;
  canceller: Canceller;
  /** Tells approvers of jobs that they were not told of; see approvals/park.ts. */
  announceForgotten?: () => Promise<void>;
  onExpired?: ExpiryParts['onExpired'];
  log: Log;
}): Sweeper {
  const { redis, entrance, canceller, onExpired, log } = options;
  let timer: NodeJS.Timeout | undefined;
  let underWay: Promise<void> | undefined;
  let coming: Coming = [];

  const due = (key: string, beforeMs: number, skip = 0): Promise<string[]> =>
    redis.zrangebyscore(key, '-inf', beforeMs, 'LIMIT', skip, AT_ONCE);

  const enqueueForgotten = async (): Promise<void> => {
    const ids = await due(keys.unqueued(), Date.now() - UNQUEUED_AFTER_MS);
    const records = await readRecords(redis, ids);
    const entries = ids.flatMap((id, index) => turnOf(id, records[index]) ?? []);
    await entrance.add(entries);
    // Without a turn it is not for the queue: it runs, is done, or is gone.
    entrance.entered(ids.map((id) => ({ id })));
    if (entries.length > 0) log.warn({ jobs: entries.length }, 'enqueued by the sweep');
  };

  const end = async (key: string, from: 'queued' | 'running', outcome: Outcome): Promise<void> => {
    // Those that are left alone must not hide the ones behind them.
    for (let skip = 0, found = AT_ONCE; found === AT_ONCE; ) {
      const ids = await due(key, Date.now(), skip);
      const records = await readRecords(redis, ids);
      for (const [index, id] of ids.entries()) {
        const record = records[index];
        if (record === undefined) {
          await redis.zrem(key, id);
        } else if (record.state !== from || mayStartAgain(record)) {
          skip++;
        } else {
          const { released } = await settleWithoutRun(redis, { id, record, outcome });
          entrance.release(released);
          log.warn({ job: id, outcome }, 'ended by the sweep');
        }
      }
      found = ids.length;
    }
  };

  const stopForsakenUploads = async (): Promise<void> => {
    for (const id of await due(keys.openBatches(), Date.now() - OPEN_BATCH_MS)) {
      log.warn({ batch: id }, 'an upload was not taken up again: its batch is cancelled');
      await stopBatch(redis, id);
    }
  };

  const sweep = async (): Promise<void> => {
    try {
      await enqueueForgotten();
      await expireApprovals({ redis, entrance, onExpired, log });
      await options.announceForgotten?.();
      await end(keys.open(), 'queued', { kind: 'expired' });
      await end(keys.running(), 'running', { kind: 'lost', cause: 'worker_lost' });
      await stopForsakenUploads();
      for (const id of await redis.smembers(keys.stoppingBatches())) await canceller.cancel(id);
      await correctTurns(redis, coming);
      coming = await rebaseLanes(redis);
    } catch (error) {
      log.warn({ err: error }, 'the sweep failed');
    }
  };

  return {
    start() {
      timer = setInterval(() => {
        underWay ??= sweep().finally(() => {
          underWay = undefined;
        });
      }, SWEEP_MS);
    },
    async stop() {
      clearInterval(timer);
      await underWay;
    },
  };
}

/** It started in time once and was handed back: a worker has as long again to take it up. */
const mayStartAgain = ({ state, starts, expiresAt, budgetMs }: JobRecord): boolean =>
  state === 'queued' && starts > 0 && Date.now() < expiresAt + budgetMs;
