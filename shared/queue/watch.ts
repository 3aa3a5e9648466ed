/** Joins the waiters of a job: the result at once where there is one, else a message when it settles. */
import type { Redis } from 'ioredis';
import { keys } from './keys.ts';
import { defineScript } from './script.ts';

/* KEYS job, result, watchers */
const WATCH = defineScript(`
  local state = redis.call('HGET', KEYS[1], 'state')
  if not state then return {'unknown'} end
  if state == 'done' then return {'done', redis.call('GET', KEYS[2])} end
  redis.call('SADD', KEYS[3], ARGV[1])
  if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[3], ARGV[2]) end
  return {'watching'}
`);

export type Watched =
  | { readonly kind: 'unknown' | 'watching' }
  | { readonly kind: 'done'; readonly result: string };

export async function watchJob(
  redis: Redis,
  watch: { id: string; instance: string; forMs: number },
): Promise<Watched> {
  const [kind, result] = (await WATCH.run(
    redis,
    [keys.job(watch.id), keys.result(watch.id), keys.watchers(watch.id)],
    [watch.instance, watch.forMs],
  )) as [Watched['kind'], (string | null)?];
  if (kind !== 'done') return { kind };
  return result ? { kind, result } : { kind: 'unknown' };
}
