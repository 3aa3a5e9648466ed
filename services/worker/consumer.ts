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

  const process = async (job: Job, token: string | undefined): Promise<void> => {
    const id = job.id as string;
    let next = await attempts.attempt(id);
    while (next.kind === 'again') next = await attempts.attempt(id);
    if (next.kind === 'ended') return;
    await job.moveToDelayed(Date.now() + next.afterMs, token);
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
  queue.on('failed', (job, error) => {
    log.error({ job: job?.id, err: error }, 'the queue gave a job up');
    if (job?.id === undefined) return;
    attempts.abandon(job.id).catch((cause: unknown) => log.error({ err: cause }, 'not settled'));
  });

  return {
    async stop() {
      const overdue = setTimeout(() => {
        for (const id of attempts.runningIds()) attempts.end(id, { kind: 'draining' });
      }, drainMs);
      // With Redis away no end can be written down, and with no job running there is none to wait for.
      const isIdle = attempts.runningIds().length === 0 || redis.status !== 'ready';
      const closing = limited(queue.close(), (isIdle ? 0 : drainMs) + CLOSE_MS);
      await closing.catch((error: Error) => log.warn({ err: error }, 'the queue did not close'));
      clearTimeout(overdue);
    },
  };
}
