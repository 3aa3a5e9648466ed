/** The queue as both of its ends see it. What a number keeps is in docs/architecture.md. */
import { PREFIX } from './keys.ts';

export const QUEUE_NAME = 'jobs';
export const QUEUE_PREFIX = `${PREFIX}:queue`;

/** Nothing of a job is in the queue but its id: the record holds the rest. */
export const QUEUED_JOB = {
  attempts: 1,
  removeOnComplete: true,
  removeOnFail: true,
} as const;

/** The event stream is nobody's source of truth here; keep it short. */
export const EVENT_STREAM_LENGTH = 100;

/** A worker that has not renewed its lock for so long has lost the job. */
export const LOCK_MS = 15_000;
export const STALLED_CHECK_MS = 5_000;
export const MAX_STALLED = 1;

/** A job is started at most so often; only the platform's loss starts a second time. */
export const MAX_STARTS = 2;

/** How often a worker says that it lives, and after what silence it is held for dead. */
export const HEARTBEAT_MS = 5_000;
export const HEARTBEAT_TTL_MS = 15_000;
