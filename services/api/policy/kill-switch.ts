/**
 * What the kill switch does to jobs that run. That none begins is up to the workers, which find it in Redis in the very
 * call in which they would begin one; so whatever runs when it was switched on is in the list that is read here.
 */
import type { Redis } from 'ioredis';
import { cancelRunning } from '../../../shared/queue/cancel.ts';
import { keys } from '../../../shared/queue/keys.ts';

const AT_ONCE = 100;

/** Cancels all jobs that run, in the operator's name; how many. Doing it again changes nothing. */
export async function cancelAllRunning(redis: Redis): Promise<number> {
  const ids = await redis.zrange(keys.running(), 0, -1);
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const some = ids.slice(at, at + AT_ONCE);
    await Promise.all(some.map((id) => cancelRunning(redis, id, 'operator')));
  }
  return ids.length;
}
