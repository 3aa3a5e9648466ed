/** How long the job whose turn is next has waited, by lane: in a fair queue the one that waits longest of those due. */
import type { Redis } from 'ioredis';
import { LANES, type Lane } from '../contract/lane.ts';
import { keys } from './keys.ts';
import { QUEUE_PREFIX } from './options.ts';

/** Sorted set of the queue's library: ids by turn. The only key of its own that we read, here and in rebase.ts. */
export const prioritizedKey = (lane: Lane): string => `${QUEUE_PREFIX}:${lane}:prioritized`;

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
