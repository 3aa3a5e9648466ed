/**
 * The way into the queue for jobs that are recorded. A job counts as on its way (`unqueued`) from its record on until
 * its mark is taken away here, a little later and many at a time: each write of its own would cost a flush to disk.
 */
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { LANES } from '../contract/lane.ts';
import type { Log } from '../log.ts';
import { milestone } from '../milestones.ts';
import type { Entry } from './fair-share.ts';
import { keys } from './keys.ts';
import { EVENT_STREAM_LENGTH, MAX_PRIORITY, QUEUE_PREFIX, QUEUED_JOB } from './options.ts';

const UNMARK_MS = 500;
/** Jobs whose mark is older are taken for forgotten; longer than the pause above, by far. */
export const UNQUEUED_AFTER_MS = 4 * UNMARK_MS;

/** A queued job that fell out of the queue: the sweep puts it in again. */
export const leaveToSweep = (redis: Redis, id: string): Promise<unknown> =>
  redis.zadd(keys.unqueued(), 'NX', Date.now(), id);

export interface Entrance {
  /** Puts jobs into the queue; doing it again changes nothing. */
  add(entries: readonly Entry[]): Promise<void>;
  /** These jobs are recorded and were added after that: their marks can go. */
  entered(entries: readonly Pick<Entry, 'id'>[]): void;
  /** Both, for what a settlement released; what fails is left to the sweep. */
  release(entries: readonly Entry[]): void;
  start(): void;
  stop(): Promise<void>;
}

export function createEntrance({ redis, log }: { redis: Redis; log: Log }): Entrance {
  const queues = new Map<string, Queue>(
    LANES.map((lane) => {
      const queue = new Queue(lane, {
        connection: redis,
        prefix: QUEUE_PREFIX,
        streams: { events: { maxLen: EVENT_STREAM_LENGTH } },
      });
      queue.on('error', (error) => log.warn({ err: error, lane }, 'queue'));
      return [lane, queue];
    }),
  );
  const underWay = new Set<Promise<void>>();
  let marked: string[] = [];
  let timer: NodeJS.Timeout | undefined;

  const unmark = async (): Promise<void> => {
    if (marked.length === 0) return;
    const ids = marked;
    marked = [];
    try {
      await redis.zrem(keys.unqueued(), ids);
    } catch (error) {
      log.warn({ err: error, jobs: ids.length }, 'left to the sweep: marks not taken away');
    }
  };

  const add = async (entries: readonly Entry[]): Promise<void> => {
    await Promise.all(
      [...queues].map(async ([lane, queue]) => {
        const own = entries.filter((entry) => entry.lane === lane).map(queuedJob);
        const [first] = own;
        if (own.length > 1) await queue.addBulk(own);
        else if (first !== undefined) await queue.add(first.name, first.data, first.opts);
      }),
    );
    milestone('enqueued');
  };

  const entered: Entrance['entered'] = (entries) => {
    for (const { id } of entries) marked.push(id);
  };

  return {
    add,
    entered,
    release(entries) {
      if (entries.length === 0) return;
      const work = add(entries)
        // The worker that took it last may not have taken it out yet: then it was not added, and the mark stays.
        .then(() => entered(entries.filter(({ isBack }) => !isBack)))
        .catch((error: unknown) => log.warn({ err: error }, 'left to the sweep: not enqueued'))
        .finally(() => underWay.delete(work));
      underWay.add(work);
    },
    start() {
      timer = setInterval(() => void unmark(), UNMARK_MS);
    },
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      await unmark();
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}

/** Nothing of a job is in the queue but its id and its turn. */
const queuedJob = ({ id, priority }: Entry) => ({
  name: 'job',
  data: {},
  opts: { ...QUEUED_JOB, jobId: id, priority: Math.min(priority, MAX_PRIORITY) },
});
