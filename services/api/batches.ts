/** Batches as their owner sees them: read, wait, cancel. Whoever is not the owner sees nothing, as if there were none. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { BatchView } from '../../shared/contract/batch.ts';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { type Batch, isOver, readBatch, stopBatch } from '../../shared/queue/batch-record.ts';
import type { Owner } from './auth.ts';
import type { Canceller } from './canceller.ts';

/** Whoever waits for a batch is served by looking again: a message for each of its jobs would cost more. */
export const LOOK_AGAIN_MS = 50;

export interface Batches {
  get(caller: Owner, id: string, waitMs: number): Promise<BatchView>;
  cancel(caller: Owner, id: string): Promise<BatchView>;
  /** The batch as it is; refused with an AppError when it is not the caller's. */
  own(caller: Owner, id: string): Promise<Batch>;
}

export function createBatches(options: {
  redis: Redis;
  canceller: Canceller;
  /** Aborted when the server stops: nobody waits longer. */
  closing: AbortSignal;
  log: Log;
}): Batches {
  const { redis, canceller, closing, log } = options;
  const own: Batches['own'] = async ({ tenant }, id) => {
    const batch = await readBatch(redis, id);
    if (batch === undefined || batch.tenant !== tenant) throw new AppError('NOT_FOUND');
    return batch;
  };
  return {
    own,
    async get(caller, id, waitMs) {
      const deadline = Date.now() + waitMs;
      let batch = await own(caller, id);
      while (!isOver(batch) && Date.now() < deadline && !closing.aborted) {
        await sleep(LOOK_AGAIN_MS);
        batch = await own(caller, id);
      }
      return batch.view;
    },
    async cancel(caller, id) {
      await own(caller, id);
      if (await stopBatch(redis, id)) {
        canceller
          .cancel(id)
          .catch((error: unknown) =>
            log.warn({ err: error, batch: id }, 'left to the sweep: not all jobs cancelled'),
          );
      }
      return (await own(caller, id)).view;
    },
  };
}
