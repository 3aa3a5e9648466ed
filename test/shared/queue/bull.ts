/** A lane's real queue as a worker sees it: jobs are taken one by one, begun, and gone from it. */
import { Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Lane } from '../../../shared/contract/lane.ts';
import { QUEUE_PREFIX } from '../../../shared/queue/options.ts';

export interface Taker {
  /** The id of the next job, which leaves the queue; undefined when none waits. */
  take(): Promise<string | undefined>;
  /** Takes a job that stays in the queue, as one that is worked on, until the end is said. */
  hold(): Promise<{ readonly id: string; end(): Promise<void> }>;
  /** Takes a job and puts it off, as a hand-back does. */
  delay(byMs: number): Promise<string>;
  stop(): Promise<void>;
}

export function createTaker(redis: Redis, lane: Lane): Taker {
  const worker = new Worker(lane, undefined, {
    connection: redis,
    prefix: QUEUE_PREFIX,
    autorun: false,
  });
  worker.on('error', () => {});
  const token = 'taker';
  const next = () => worker.getNextJob(token, { block: false });
  return {
    async take() {
      const job = await next();
      await job?.moveToCompleted(null, token, false);
      return job?.id;
    },
    async hold() {
      const job = await next();
      if (job?.id === undefined) throw new Error('expected a job in the queue, came none');
      return { id: job.id, end: async () => void (await job.moveToCompleted(null, token, false)) };
    },
    async delay(byMs) {
      const job = await next();
      if (job?.id === undefined) throw new Error('expected a job in the queue, came none');
      await job.moveToDelayed(Date.now() + byMs, token);
      return job.id;
    },
    stop: () => worker.close(),
  };
}
