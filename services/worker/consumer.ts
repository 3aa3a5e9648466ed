/**
 * The worker's end of the queues: takes jobs of both lanes and does with each what its attempts say. While jobs are
 * short, a few more of the bulk lane are taken than run, so that the way of the next one is over when a slot is free.
 */
import { DelayedError, type Job, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Lane } from '../../shared/contract/lane.ts';
import { limited } from '../../shared/limited.ts';
import type { Log } from '../../shared/log.ts';
import { milestone } from '../../shared/milestones.ts';
import type { Held } from '../../shared/queue/begin.ts';
import {
  LOCK_MS,
  MAX_STALLED,
  QUEUE_PREFIX,
  STALLED_CHECK_MS,
} from '../../shared/queue/options.ts';
import type { SharedClock } from '../../shared/queue/shared-clock.ts';
import { steadyNowMs } from '../../shared/steady-clock.ts';
import type { Attempts } from './attempts.ts';
import { createSlots } from './slots.ts';

/** What the queue's client gets to close once no job runs. */
const CLOSE_MS = 3_000;
const LOCK_WATCH_MS = 1_000;
/** A job that waits so long for a slot here goes back to the queue, where another worker may take it. */
const SLOT_WITHIN_MS = 1_000;
/** Jobs that take less, at the mean of late, are taken ahead. */
const SHORT_MS = 50;
const MEAN_PART = 0.1;

export interface Consumer {
  /** How many jobs it holds, and how many it has been given so far. */
  activity(): { readonly held: number; readonly given: number };
  /** Takes nothing new until it is told otherwise: jobs that cannot be run here are for other workers. */
  pause(isPaused: boolean): void;
  /** Takes nothing new, waits for what runs until the drain is over, then ends it. */
  stop(): Promise<void>;
}

export function createConsumer(options: {
  redis: Redis;
  clock: Pick<SharedClock, 'nowMs'>;
  slots: number;
  reservedSlots: number;
  drainMs: number;
  attempts: Attempts;
  log: Log;
}): Consumer {
  const { redis, clock, attempts, log, drainMs, slots } = options;
  const running = createSlots({ slots, reserved: options.reservedSlots });

  /** Jobs that were taken, by when their lock was last known to be ours. */
  const taken = new Map<string, number>();
  let given = 0;
  let isStopping = false;
  let meanMs = SHORT_MS;

  /** After how long it is to be in the queue again; undefined when it is not. */
  const attempt = async (id: string, held: Held): Promise<number | undefined> => {
    const beganAtMs = steadyNowMs();
    const next = await attempts.attempt(id, held);
    meanMs += (steadyNowMs() - beganAtMs - meanMs) * MEAN_PART;
    return next.kind === 'ended' ? undefined : next.afterMs;
  };

  const inSlot = async (id: string, held: Held): Promise<number | undefined> => {
    const { lane } = held;
    if (!(await running.acquire(lane, SLOT_WITHIN_MS))) return 0;
    try {
      // Taken, but not begun: another worker may have it.
      return isStopping ? 0 : await attempt(id, held);
    } finally {
      running.release(lane);
    }
  };

  const processIn =
    (lane: Lane) =>
    async (job: Job, token = ''): Promise<void> => {
      const id = job.id as string;
      taken.set(id, steadyNowMs());
      given++;
      milestone('fetched');
      try {
        const backAfterMs = await inSlot(id, { lane, token });
        bulk.concurrency = meanMs < SHORT_MS ? 2 * slots : slots;
        if (backAfterMs === undefined) return;
        await job.moveToDelayed(clock.nowMs() + backAfterMs, token);
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
      for (const id of jobIds) if (taken.has(id)) taken.set(id, steadyNowMs());
    });
    queue.on('failed', (job, error) => {
      log.error({ job: job?.id, err: error }, 'the queue gave a job up');
      if (job?.id === undefined) return;
      attempts.abandon(job.id).catch((cause: unknown) => log.error({ err: cause }, 'not settled'));
    });
    return queue;
  };
  const interactive = open('interactive', slots + options.reservedSlots);
  const bulk = open('bulk', slots);
  const queues = [interactive, bulk];

  // With Redis away no renewal fails, it only never comes: past its lock a job may be another worker's.
  const watch = setInterval(() => {
    for (const [id, renewedAtMs] of taken) {
      if (steadyNowMs() - renewedAtMs > LOCK_MS) attempts.end(id, { kind: 'lock_lost' });
    }
  }, LOCK_WATCH_MS);

  return {
    activity: () => ({ held: taken.size, given }),
    pause(isPaused) {
      const what = isPaused ? 'the engine fails: no job is taken' : 'the engine works again';
      log.warn(what);
      for (const queue of queues) {
        if (isPaused) void queue.pause(true).catch(() => {});
        else if (!isStopping) queue.resume();
      }
    },
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
