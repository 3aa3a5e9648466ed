/** Any state → done: the one terminal result, and the message to whoever waits for it. See job-record.ts. */
import type { Redis } from 'ioredis';
import type { ApprovalState } from '../contract/approval.ts';
import { countedAs } from '../contract/batch.ts';
import type { JobState, Outcome } from '../contract/result.ts';
import { END_APPROVAL } from './approval-record.ts';
import { DUE_CALLBACK } from './due-callback.ts';
import { type Entry, entriesOf, FAIR_SHARE } from './fair-share.ts';
import { RETURN_HOLDS, type Used } from './holds.ts';
import { channels, keys, PREFIX } from './keys.ts';
import { RELEASE } from './release.ts';
import { defineScript } from './script.ts';
import { RELEASE_WAITING } from './turns.ts';

/** Results up to this size travel inside the message to their waiters; larger ones are read by key. */
const INLINE_RESULT_BYTES = 8192;

export interface Settlement {
  readonly id: string;
  /** The only state that may be settled: running, unless it is said. */
  readonly from?: JobState;
  /**
   * The number that `begin` gave, or that the record had when it was read: a job may be as it was read and have run since.
   * Null where that does not matter.
   */
  readonly start: number | null;
  readonly result: string;
  readonly outcome: Outcome;
  readonly finishedAtMs: number;
  readonly retainMs: number;
  /** How its approval ends, of a job that awaits one, with the decision as JSON; without it as cancelled. */
  readonly approval?: ApprovalEnd | undefined;
  /** What its meters are settled at; without it nobody knows, and they stay at what was reserved. */
  readonly used?: Used | undefined;
}

export interface ApprovalEnd {
  readonly as: Exclude<ApprovalState, 'pending' | 'approved'>;
  readonly decision: string | null;
}

export type SettledAs = 'settled' | 'fenced' | 'already_done' | 'unknown';

export interface Settled {
  readonly as: SettledAs;
  /** What may enter the queue now. Whoever settles puts it there. */
  readonly released: readonly Entry[];
}

/* KEYS job, result, open, running, watchers, unqueued, artifacts of the start, artifacts, tenants open, tenants running */
const SETTLE =
  defineScript(`${FAIR_SHARE}${RELEASE}${DUE_CALLBACK}${END_APPROVAL}${RETURN_HOLDS}${RELEASE_WAITING}
  local known = redis.call('HMGET', KEYS[1], 'state', 'fence', 'replyTo', 'tenant', 'batch', 'lane', 'out', 'index',
    'key', 'callback', 'holds')
  local state, tenant, batch = known[1], known[4], known[5]
  if not state then return {'unknown'} end
  if state == 'done' then return {'already_done'} end
  local id, start, from, result, retain = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[7]
  local counted, prefix = ARGV[10], ARGV[11]
  if state ~= from or (start ~= '' and (known[2] or '0') ~= start) then return {'fenced'} end
  -- First of all what only shrinks: Redis at its memory limit lets a script go on that began so.
  redis.call('HDEL', KEYS[1], 'spec')
  redis.call('SET', KEYS[2], result, 'PX', retain)
  if redis.call('EXISTS', KEYS[7]) == 1 then redis.call('RENAME', KEYS[7], KEYS[8]) end
  leave_lane(prefix .. ':lane:' .. known[6], KEYS[1], false)
  redis.call('HSET', KEYS[1], 'state', 'done', 'outcome', ARGV[5], 'finishedAt', ARGV[6])
  redis.call('PEXPIRE', KEYS[1], retain)
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZREM', KEYS[4], id)
  redis.call('ZREM', KEYS[6], id)
  count_down(KEYS[9], tenant)
  if state == 'running' then count_down(KEYS[10], tenant) end
  local callback, holds = known[10], known[11]
  if callback then
    local about = {type = 'job.done', subject = id, tenant = tenant, at = ARGV[6], outcome = ARGV[5]}
    due_callback(prefix, about, callback)
  end
  if state == 'awaiting_approval' then
    end_approval(prefix, redis.call('HGET', KEYS[1], 'needsApproval'), ARGV[12], ARGV[13], ARGV[6])
  end

  local answer = {'settled'}
  if holds then
    redis.call('HDEL', KEYS[1], 'holds')
    return_holds(prefix, holds, cjson.decode(ARGV[14]), function(key, places)
      release_waiting(answer, prefix, key, places, ARGV[6])
    end)
  end
  if batch then
    local key = prefix .. ':batch:' .. batch
    local place = known[8]
    if known[9] then place = place .. ' ' .. known[9] end
    redis.call('RPUSH', key .. ':done', place)
    redis.call('HINCRBY', key, 'of:' .. counted, 1)
    if state == 'running' then redis.call('HINCRBY', key, 'running', -1) end
    if known[7] then redis.call('HINCRBY', key, 'out', -1) end
    local b = redis.call('HMGET', key, 'total', 'sealed', 'stopOnFirstFailure', 'retainMs', 'stopping')
    local is_last = redis.call('HINCRBY', key, 'done', 1) == tonumber(b[1]) and b[2]
    if b[3] and counted ~= 'exited_zero' and not b[5] and not is_last then
      redis.call('HSET', key, 'stopping', 1)
      redis.call('SADD', prefix .. ':batches:stopping', batch)
    end
    if is_last then
      for _, suffix in ipairs({'', ':jobs', ':done', ':approved'}) do
        redis.call('PEXPIRE', key .. suffix, b[4])
      end
      redis.call('HSET', key, 'finishedAt', ARGV[6])
      due_batch_callback(prefix, key, batch, ARGV[6])
    else
      release_batch(answer, prefix, key, ARGV[6])
    end
  end
  release_parked(answer, prefix, tenant, ARGV[6])

  local message = id
  if #result <= tonumber(ARGV[8]) then message = id .. '\\n' .. result end
  if known[3] and known[3] ~= '' then redis.call('PUBLISH', ARGV[9] .. known[3], message) end
  for _, instance in ipairs(redis.call('SMEMBERS', KEYS[5])) do
    if instance ~= known[3] then redis.call('PUBLISH', ARGV[9] .. instance, message) end
  end
  redis.call('DEL', KEYS[5])
  return answer
`);

/** The one terminal result of a job: the first valid write wins, and wakes whoever waits. */
export async function settleJob(redis: Redis, end: Settlement): Promise<Settled> {
  const [as, ...released] = (await SETTLE.run(
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
      keys.tenantsOpen(),
      keys.tenantsRunning(),
    ],
    [
      end.id,
      end.start ?? '',
      end.from ?? 'running',
      end.result,
      JSON.stringify(end.outcome),
      end.finishedAtMs,
      end.retainMs,
      INLINE_RESULT_BYTES,
      channels.replies(''),
      countedAs(end.outcome),
      PREFIX,
      end.approval?.as ?? 'cancelled',
      end.approval?.decision ?? '',
      JSON.stringify(end.used ?? false),
    ],
  )) as [SettledAs, ...(string | number)[]];
  return { as, released: entriesOf(released) };
}
