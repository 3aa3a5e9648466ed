/**
 * Mends what a crash between two steps left: jobs that were recorded but not enqueued, jobs whose time to start is
 * over, and jobs whose worker fell silent past every limit. Every API process sweeps; doing it twice changes nothing.
 */
import type { Redis } from 'ioredis';
import type { Outcome } from '../../shared/contract/result.ts';
import type { Log } from '../../shared/log.ts';
import { type JobRecord, readRecords } from '../../shared/queue/job-record.ts';
import { keys } from '../../shared/queue/keys.ts';
import { settleWithoutRun } from '../../shared/queue/settle-without-run.ts';
import { type Entrance, UNQUEUED_AFTER_MS } from './entrance.ts';

const SWEEP_MS = 2_000;
const AT_ONCE = 500;

export interface Sweeper {
  start(): void;
  stop(): Promise<void>;
}

export function createSweeper(options: { redis: Redis; entrance: Entrance; log: Log }): Sweeper {
  const { redis, entrance, log } = options;
  let timer: NodeJS.Timeout | undefined;
  let underWay: Promise<void> | undefined;

  const due = (key: string, beforeMs: number, skip = 0): Promise<string[]> =>
    redis.zrangebyscore(key, '-inf', beforeMs, 'LIMIT', skip, AT_ONCE);

  const enqueueForgotten = async (): Promise<void> => {
    for (const id of await due(keys.unqueued(), Date.now() - UNQUEUED_AFTER_MS)) {
      await entrance.add(id);
      entrance.entered(id);
      log.warn({ job: id }, 'enqueued by the sweep');
    }
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
          await settleWithoutRun(redis, { id, record, outcome });
          log.warn({ job: id, outcome }, 'ended by the sweep');
        }
      }
      found = ids.length;
    }
  };

  const sweep = async (): Promise<void> => {
    try {
      await enqueueForgotten();
      await end(keys.open(), 'queued', { kind: 'expired' });
      await end(keys.running(), 'running', { kind: 'lost', cause: 'worker_lost' });
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
