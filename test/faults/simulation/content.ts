/** All that a Redis holds, in a form that can be compared: real or in memory. */
import type { Redis } from 'ioredis';

/** Made anew by each call to begin: no two are the same. */
const ONCE = 'beganBy';

export async function contentOf(redis: Redis): Promise<Record<string, unknown>> {
  const content: Record<string, unknown> = {};
  for (const key of (await redis.keys('*')).toSorted()) {
    const lives = (await redis.pttl(key)) > 0 ? ' until it expires' : '';
    content[`${key}${lives}`] = await valueAt(redis, key, await redis.type(key));
  }
  return content;
}

async function valueAt(redis: Redis, key: string, type: string): Promise<unknown> {
  switch (type) {
    case 'hash': {
      const { [ONCE]: _, ...fields } = await redis.hgetall(key);
      return fields;
    }
    case 'zset':
      return redis.zrange(key, 0, -1, 'WITHSCORES');
    case 'list':
      return redis.lrange(key, 0, -1);
    case 'set':
      return (await redis.smembers(key)).toSorted();
    default:
      return redis.get(key);
  }
}
