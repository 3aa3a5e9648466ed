/**
 * Cancels the jobs of a batch that is to stop: those that wait are settled here, those that run are ended by their
 * workers. A hundred thousand take seconds, so the request only marks the batch, and this goes on behind it; what a
 * process leaves undone, any other finishes.
 */
import type { Redis } from 'ioredis';
import type { Log } from '../../shared/log.ts';
import { isOver, readBatch, sealBatch } from '../../shared/queue/batch-record.ts';
import { cancelRunning } from '../../shared/queue/cancel.ts';
import type { Entrance } from '../../shared/queue/entrance.ts';
import { readRecords } from '../../shared/queue/job-record.ts';
import { keys } from '../../shared/queue/keys.ts';
import { settleWithoutRun } from '../../shared/queue/settle-without-run.ts';

const AT_ONCE = 250;

export interface Canceller {
  /** One pass over the jobs of the batch; calls for one batch share it. */
  cancel(batch: string): Promise<void>;
  stop(): Promise<void>;
}

export function createCanceller(options: {
  redis: Redis;
  entrance: Entrance;
  log: Log;
}): Canceller {
  const { redis, entrance } = options;
  const underWay = new Map<string, Promise<void>>();
  let isStopping = false;

  const cancelJobs = async (ids: readonly string[]): Promise<void> => {
    const records = await readRecords(redis, ids);
    await Promise.all(
      ids.map(async (id, index) => {
        const record = records[index];
        if (record === undefined || record.state === 'done') return;
        if (record.state === 'running') return void (await cancelRunning(redis, id, 'caller'));
        const outcome = { kind: 'cancelled', by: 'caller' } as const;
        const { as, released } = await settleWithoutRun(redis, { id, record, outcome });
        entrance.release(released);
        // It began just now.
        if (as === 'fenced') await cancelRunning(redis, id, 'caller');
      }),
    );
  };

  const cancelAll = async (batch: string): Promise<void> => {
    const before = await readBatch(redis, batch);
    if (before === undefined) return void (await redis.srem(keys.stoppingBatches(), batch));
    // What runs first: it costs the most, and is near the head of the list.
    for (let at = 0; !isStopping; at += AT_ONCE) {
      const ids = await redis.lrange(keys.batchJobs(batch), at, at + AT_ONCE - 1);
      if (ids.length === 0) break;
      await cancelJobs(ids);
    }
    await sealBatch(redis, batch);
    const after = await readBatch(redis, batch);
    if (after === undefined || isOver(after)) await redis.srem(keys.stoppingBatches(), batch);
  };

  return {
    cancel(batch) {
      let pass = underWay.get(batch);
      if (pass === undefined) {
        pass = cancelAll(batch).finally(() => underWay.delete(batch));
        underWay.set(batch, pass);
      }
      return pass;
    },
    async stop() {
      isStopping = true;
      await Promise.allSettled(underWay.values());
    },
  };
}
