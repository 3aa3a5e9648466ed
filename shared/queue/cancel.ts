/** Marks a running job as to be cancelled and tells its worker; the mark outlives a worker that missed the message. */
import type { Redis } from 'ioredis';
import { channels, keys } from './keys.ts';
import { defineScript } from './script.ts';

/* KEYS job */
const CANCEL = defineScript(`
  local state = redis.call('HGET', KEYS[1], 'state')
  if not state or state == 'done' then return state or 'unknown' end
  redis.call('HSET', KEYS[1], 'cancelledBy', ARGV[2])
  redis.call('PUBLISH', ARGV[3], ARGV[1] .. ' ' .. ARGV[2])
  return state
`);

export type CancelledBy = 'caller' | 'operator';

export interface Cancellation {
  readonly id: string;
  readonly by: CancelledBy;
}

/** What a cancellation tells the workers: the id, and who wants it. */
export function parseCancel(message: string): Cancellation {
  const [id = '', by] = message.split(' ');
  return { id, by: by === 'operator' ? by : 'caller' };
}

/** The state that the job was found in; only a running one is marked. */
export async function cancelRunning(redis: Redis, id: string, by: CancelledBy): Promise<string> {
  return (await CANCEL.run(redis, [keys.job(id)], [id, by, channels.cancels()])) as string;
}

/** Those of the ids that are marked as to be cancelled, and by whom. */
export async function readCancelled(redis: Redis, ids: readonly string[]): Promise<Cancellation[]> {
  if (ids.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.hget(keys.job(id), 'cancelledBy');
  const replies = (await pipeline.exec()) ?? [];
  return ids.flatMap((id, index) => {
    const by = replies[index]?.[1];
    return typeof by === 'string' ? [{ id, by: by === 'operator' ? by : 'caller' }] : [];
  });
}
