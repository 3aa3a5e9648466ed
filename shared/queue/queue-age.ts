/**
 * What waits in the queue: how much, and how long the job whose turn is next has waited, by lane: in a fair queue the one
 * that waits longest of those due.
 */
import type { Redis } from 'ioredis';
import { LANES, type Lane } from '../contract/lane.ts';
import { keys } from './keys.ts';
import { QUEUE_PREFIX } from './options.ts';

/** Sorted set of the queue's library: ids by turn. Read here and in rebase.ts. */
export const prioritizedKey = (lane: Lane): string => `${QUEUE_PREFIX}:${lane}:prioritized`;

/** List of the queue's library: ids that come before all turns, since they stalled. */
const againKey = (lane: Lane): string => `${QUEUE_PREFIX}:${lane}:wait`;

/** How many jobs wait for a worker to take them, in all lanes. */
export async function countWaiting(redis: Redis): Promise<number> {
  const counts = await Promise.all(
    LANES.flatMap((lane) => [redis.zcard(prioritizedKey(lane)), redis.llen(againKey(lane))]),
  );
  return counts.reduce((sum, one) => sum + one, 0);
}

export async function readQueueAges(redis: Redis, nowMs: number): Promise<Record<Lane, number>> {
  const ages: Record<Lane, number> = { interactive: 0, bulk: 0 };
  for (const lane of LANES) {
    const [next] = await redis.zrange(prioritizedKey(lane), 0, 0);
    if (next === undefined) continue;
    const acceptedAt = await redis.hget(keys.job(next), 'acceptedAt');
    ages[lane] = acceptedAt === null ? 0 : Math.max(0, nowMs - Number(acceptedAt));
  }
  return ages;
}
