/** The queue as both of its ends see it. What a number keeps is in docs/architecture.md. */
import type { Lane } from '../contract/lane.ts';
import { PREFIX } from './keys.ts';

/** One queue a lane; the name of the queue is the lane's. */
export const QUEUE_PREFIX = `${PREFIX}:queue`;

/** Nothing of a job is in the queue but its id: the record holds the rest. */
export const QUEUED_JOB = {
  attempts: 1,
  removeOnComplete: true,
  removeOnFail: true,
} as const;

/** The queue runs the least first; it knows no greater one. */
export const MAX_PRIORITY = 2_097_151;

/** Jobs of one batch that are in the queue or running at once; the others wait in the batch, where they cost little. */
export const BATCH_WINDOW = 1_000;
/** So many of them go into the queue at a time. */
export const RELEASE_CHUNK = 200;

/** The event stream is nobody's source of truth here; keep it short. */
export const EVENT_STREAM_LENGTH = 100;

/** A worker that has not renewed its lock for so long has lost the job. */
export const LOCK_MS = 15_000;
/** Where the queue's library keeps who holds a job that was taken: a token, for as long as the lock lasts. */
export const lockKey = (lane: Lane, id: string): string => `${QUEUE_PREFIX}:${lane}:${id}:lock`;
export const STALLED_CHECK_MS = 5_000;
export const MAX_STALLED = 1;

/** A job is started at most so often; only the platform's loss starts a second time. */
export const MAX_STARTS = 2;

/** How often a worker says that it lives, and after what silence it is held for dead. */
export const HEARTBEAT_MS = 5_000;
export const HEARTBEAT_TTL_MS = 15_000;
