/** The worker's end of the queue: takes as many jobs as there are slots and does with each what its attempts say. */
import { DelayedError, type Job, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { limited } from '../../shared/limited.ts';
import type { Log } from '../../shared/log.ts';
import {
  LOCK_MS,
  MAX_STALLED,
  QUEUE_NAME,
  QUEUE_PREFIX,
  STALLED_CHECK_MS,
} from '../../shared/queue/options.ts';
import type { Attempts } from './attempts.ts';

/** What the queue's client gets to close once no job runs. */
const CLOSE_MS = 3_000;
const LOCK_WATCH_MS = 1_000;

export interface Consumer {
  /** Takes nothing new, waits for what runs until the drain is over, then ends it. */
  stop(): Promise<void>;
}

export function createConsumer(options: {
  redis: Redis;
  slots: number;
  drainMs: number;
  attempts: Attempts;
  log: Log;
}): Consumer {
  const { redis, attempts, log, drainMs } = options;

  /** Jobs that were taken, by when their lock was last known to be ours. */
  const taken = new Map<string, number>();
  let isStopping = false;

  const process = async (job: Job, token: string | undefined): Promise<void> => {
    const id = job.id as string;
    taken.set(id, Date.now());
    try {
      let next = await attempts.attempt(id);
      while (next.kind === 'again' && !isStopping) next = await attempts.attempt(id);
      if (next.kind === 'ended') return;
      const afterMs = next.kind === 'again' ? 0 : next.afterMs;
      await job.moveToDelayed(Date.now() + afterMs, token);
    } finally {
      taken.delete(id);
    }
    throw new DelayedError();
  };

  const queue = new Worker(QUEUE_NAME, process, {
    connection: redis,
    prefix: QUEUE_PREFIX,
    concurrency: options.slots,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_CHECK_MS,
    maxStalledCount: MAX_STALLED,
  });
  queue.on('error', (error) => log.warn({ err: error }, 'queue'));
  queue.on('lockRenewalFailed', (ids) => {
    for (const id of ids) attempts.end(id, { kind: 'lock_lost' });
  });
  queue.on('locksRenewed', ({ jobIds }) => {
    for (const id of jobIds) if (taken.has(id)) taken.set(id, Date.now());
  });
  // With Redis away no renewal fails, it only never comes: past its lock a job may be another worker's.
  const watch = setInterval(() => {
    for (const [id, renewedAtMs] of taken) {
      if (Date.now() - renewedAtMs > LOCK_MS) attempts.end(id, { kind: 'lock_lost' });
    }
  }, LOCK_WATCH_MS);
  queue.on('failed', (job, error) => {
    log.error({ job: job?.id, err: error }, 'the queue gave a job up');
    if (job?.id === undefined) return;
    attempts.abandon(job.id).catch((cause: unknown) => log.error({ err: cause }, 'not settled'));
  });

  return {
    async stop() {
      isStopping = true;
      const overdue = setTimeout(() => {
        for (const id of attempts.runningIds()) attempts.end(id, { kind: 'draining' });
      }, drainMs);
      // With Redis away no end can be written down, and with no job running there is none to wait for.
      const isIdle = taken.size === 0 || redis.status !== 'ready';
      const closing = limited(queue.close(), (isIdle ? 0 : drainMs) + CLOSE_MS);
      await closing.catch((error: Error) => log.warn({ err: error }, 'the queue did not close'));
      clearTimeout(overdue);
      clearInterval(watch);
    },
  };
}
