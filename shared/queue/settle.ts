/** Any state → done: the one terminal result, and the message to whoever waits for it. See job-record.ts. */
import type { Redis } from 'ioredis';
import type { JobState, Outcome } from '../contract/result.ts';
import { channels, keys } from './keys.ts';
import { defineScript } from './script.ts';

/** Results up to this size travel inside the message to their waiters; larger ones are read by key. */
const INLINE_RESULT_BYTES = 8192;

export interface Settlement {
  readonly id: string;
  /** The number that `begin` gave; null settles a job that is queued, or running past every deadline. */
  readonly start: number | null;
  /** With `start` null: the only state that may be settled. */
  readonly from?: JobState;
  readonly result: string;
  readonly outcome: Outcome;
  readonly finishedAtMs: number;
  readonly retainMs: number;
}

export type Settled = 'settled' | 'fenced' | 'already_done' | 'unknown';

/* KEYS job, result, open, running, watchers, unqueued, artifacts of the start, artifacts */
const SETTLE = defineScript(`
  local known = redis.call('HMGET', KEYS[1], 'state', 'fence', 'replyTo')
  if not known[1] then return 'unknown' end
  if known[1] == 'done' then return 'already_done' end
  local id, start, from, result, retain = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[7]
  if start ~= '' and (known[1] ~= 'running' or known[2] ~= start) then return 'fenced' end
  if start == '' and known[1] ~= from then return 'fenced' end
  -- First of all what only shrinks: Redis at its memory limit lets a script go on that began so.
  redis.call('HDEL', KEYS[1], 'spec')
  redis.call('SET', KEYS[2], result, 'PX', retain)
  if redis.call('EXISTS', KEYS[7]) == 1 then redis.call('RENAME', KEYS[7], KEYS[8]) end
  redis.call('HSET', KEYS[1], 'state', 'done', 'outcome', ARGV[5], 'finishedAt', ARGV[6])
  redis.call('PEXPIRE', KEYS[1], retain)
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZREM', KEYS[4], id)
  redis.call('ZREM', KEYS[6], id)
  local message = id
  if #result <= tonumber(ARGV[8]) then message = id .. '\\n' .. result end
  if known[3] and known[3] ~= '' then redis.call('PUBLISH', ARGV[9] .. known[3], message) end
  for _, instance in ipairs(redis.call('SMEMBERS', KEYS[5])) do
    if instance ~= known[3] then redis.call('PUBLISH', ARGV[9] .. instance, message) end
  end
  redis.call('DEL', KEYS[5])
  return 'settled'
`);

/** The one terminal result of a job: the first valid write wins, and wakes whoever waits. */
export async function settleJob(redis: Redis, end: Settlement): Promise<Settled> {
  return (await SETTLE.run(
    redis,
    [
      keys.job(end.id),
      keys.result(end.id),
      keys.open(),
      keys.running(),
      keys.watchers(end.id),
      keys.unqueued(),
      keys.startArtifacts(end.id, end.start ?? 0),
      keys.artifacts(end.id),
    ],
    [
      end.id,
      end.start ?? '',
      end.from ?? '',
      end.result,
      JSON.stringify(end.outcome),
      end.finishedAtMs,
      end.retainMs,
      INLINE_RESULT_BYTES,
      channels.replies(''),
    ],
  )) as Settled;
}
