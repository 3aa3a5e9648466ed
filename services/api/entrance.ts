/**
 * The way into the queue for jobs that are recorded. A job counts as on its way (`unqueued`) from its record on until
 * its mark is taken away here, a little later and many at a time: each write of its own would cost a flush to disk.
 */
import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Log } from '../../shared/log.ts';
import { keys } from '../../shared/queue/keys.ts';
import { QUEUED_JOB } from '../../shared/queue/options.ts';

const UNMARK_MS = 500;
/** Jobs whose mark is older are taken for forgotten; longer than the pause above, by far. */
export const UNQUEUED_AFTER_MS = 4 * UNMARK_MS;

export interface Entrance {
  /** Puts a job into the queue; doing it again changes nothing. */
  add(id: string): Promise<void>;
  /** The job is recorded and was added after that: its mark can go. */
  entered(id: string): void;
  start(): void;
  stop(): Promise<void>;
}

export function createEntrance(options: { queue: Queue; redis: Redis; log: Log }): Entrance {
  const { queue, redis, log } = options;
  let entered: string[] = [];
  let timer: NodeJS.Timeout | undefined;

  const unmark = async (): Promise<void> => {
    if (entered.length === 0) return;
    const ids = entered;
    entered = [];
    try {
      await redis.zrem(keys.unqueued(), ids);
    } catch (error) {
      log.warn({ err: error, jobs: ids.length }, 'left to the sweep: marks not taken away');
    }
  };

  return {
    async add(id) {
      await queue.add('job', {}, { ...QUEUED_JOB, jobId: id });
    },
    entered: (id) => void entered.push(id),
    start() {
      timer = setInterval(() => void unmark(), UNMARK_MS);
    },
    async stop() {
      clearInterval(timer);
      await unmark();
    },
  };
}
