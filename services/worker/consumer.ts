/**
 * The worker's end of the queues: takes jobs of both lanes and does with each what its attempts say. Bulk jobs use the
 * slots, interactive ones those and the reserved slots on top, and go first where both wait.
 */
import { DelayedError, type Job, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import PQueue from 'p-queue';
import type { Lane } from '../../shared/contract/lane.ts';
import { limited } from '../../shared/limited.ts';
import type { Log } from '../../shared/log.ts';
import {
  LOCK_MS,
  MAX_STALLED,
  QUEUE_PREFIX,
  STALLED_CHECK_MS,
} from '../../shared/queue/options.ts';
import type { Attempts } from './attempts.ts';

/** What the queue's client gets to close once no job runs. */
const CLOSE_MS = 3_000;
const LOCK_WATCH_MS = 1_000;
const PRIORITY: Readonly<Record<Lane, number>> = { interactive: 1, bulk: 0 };

export interface Consumer {
  /** Takes nothing new, waits for what runs until the drain is over, then ends it. */
  stop(): Promise<void>;
}

export function createConsumer(options: {
  redis: Redis;
  slots: number;
  reservedSlots: number;
  drainMs: number;
  attempts: Attempts;
  log: Log;
}): Consumer {
  const { redis, attempts, log, drainMs, slots } = options;
  const allSlots = slots + options.reservedSlots;
  const running = new PQueue({ concurrency: allSlots });

  /** Jobs that were taken, by when their lock was last known to be ours. */
  const taken = new Map<string, number>();
  let isStopping = false;

  const attempt = async (id: string): Promise<number | undefined> => {
    // Taken, but not begun: another worker may have it.
    if (isStopping) return 0;
    let next = await attempts.attempt(id);
    while (next.kind === 'again' && !isStopping) next = await attempts.attempt(id);
    if (next.kind === 'ended') return undefined;
    return next.kind === 'again' ? 0 : next.afterMs;
  };

  const processIn =
    (lane: Lane) =>
    async (job: Job, token: string | undefined): Promise<void> => {
      const id = job.id as string;
      taken.set(id, Date.now());
      try {
        const backAfterMs = await running.add(() => attempt(id), { priority: PRIORITY[lane] });
        if (backAfterMs === undefined) return;
        await job.moveToDelayed(Date.now() + backAfterMs, token);
      } finally {
        taken.delete(id);
      }
      throw new DelayedError();
    };

  const open = (lane: Lane, concurrency: number): Worker => {
    const queue = new Worker(lane, processIn(lane), {
      connection: redis,
      prefix: QUEUE_PREFIX,
      concurrency,
      lockDuration: LOCK_MS,
      stalledInterval: STALLED_CHECK_MS,
      maxStalledCount: MAX_STALLED,
    });
    queue.on('error', (error) => log.warn({ err: error, lane }, 'queue'));
    queue.on('lockRenewalFailed', (ids) => {
      for (const id of ids) attempts.end(id, { kind: 'lock_lost' });
    });
    queue.on('locksRenewed', ({ jobIds }) => {
      for (const id of jobIds) if (taken.has(id)) taken.set(id, Date.now());
    });
    queue.on('failed', (job, error) => {
      log.error({ job: job?.id, err: error }, 'the queue gave a job up');
      if (job?.id === undefined) return;
      attempts.abandon(job.id).catch((cause: unknown) => log.error({ err: cause }, 'not settled'));
    });
    return queue;
  };
  const queues = [open('interactive', allSlots), open('bulk', slots)];

  // With Redis away no renewal fails, it only never comes: past its lock a job may be another worker's.
  const watch = setInterval(() => {
    for (const [id, renewedAtMs] of taken) {
      if (Date.now() - renewedAtMs > LOCK_MS) attempts.end(id, { kind: 'lock_lost' });
    }
  }, LOCK_WATCH_MS);

  return {
    async stop() {
      isStopping = true;
      const overdue = setTimeout(() => {
        for (const id of attempts.runningIds()) attempts.end(id, { kind: 'draining' });
      }, drainMs);
      // With Redis away no end can be written down, and with no job running there is none to wait for.
      const isIdle = taken.size === 0 || redis.status !== 'ready';
      const closed = Promise.all(queues.map((queue) => queue.close()));
      const closing = limited(closed, (isIdle ? 0 : drainMs) + CLOSE_MS);
      await closing.catch((error: Error) => log.warn({ err: error }, 'the queue did not close'));
      await limited(attempts.settled(), CLOSE_MS).catch(() => {});
      clearTimeout(overdue);
      clearInterval(watch);
    },
  };
}
