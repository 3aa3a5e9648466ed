/** queued → running, and back: what a worker does around a start. See job-record.ts for the states. */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Lane } from '../contract/lane.ts';
import { FAIR_SHARE } from './fair-share.ts';
import { fieldsOf, type JobRecord, recordOf } from './job-record.ts';
import { keys, PREFIX } from './keys.ts';
import { lockKey, MAX_STARTS } from './options.ts';
import { defineScript } from './script.ts';
import { LINE, TAKE_TURNS } from './turns.ts';

export type Begun =
  | {
      readonly kind: 'started';
      /** The fencing token of this start: what settling and handing back must show. */
      readonly start: number;
      readonly spec: string;
      readonly record: JobRecord;
      /** Why nothing runs any more, while the kill switch is on. */
      readonly killed: string | undefined;
    }
  | { readonly kind: 'expired'; readonly record: JobRecord }
  | { readonly kind: 'exhausted'; readonly record: JobRecord }
  /** Its batch was cancelled while it waited. */
  | { readonly kind: 'cancelled'; readonly record: JobRecord }
  /** Its tenant, or a rule's bound, runs as many as it may: it enters the queue again when one of them ends. */
  | { readonly kind: 'parked' }
  | { readonly kind: 'not_wanted' };

/** What the queue gave a worker with a job: only who still holds it may begin. */
export interface Held {
  readonly lane: Lane;
  readonly token: string;
}

/* KEYS job, running, unqueued, tenants running, kill switch, lock */
const BEGIN = defineScript(`${FAIR_SHARE}${TAKE_TURNS}
  local function started()
    local answer = {'started', redis.call('HGETALL', KEYS[1])}
    if redis.call('EXISTS', KEYS[5]) == 1 then answer[3] = redis.call('HGET', KEYS[5], 'reason') or '' end
    return answer
  end
  local known = redis.call('HMGET', KEYS[1], 'state', 'beganBy', 'tenant', 'batch', 'lane', 'cap', 'starts', 'expiresAt',
    'holds', 'budgetMs')
  local state, tenant, batch, cap = known[1], known[3], known[4], tonumber(known[6])
  if not state or state == 'done' or state == 'awaiting_approval' then return {'not_wanted'} end
  -- The same call once more: its answer was lost with a connection, not its effect.
  if state == 'running' and known[2] == ARGV[5] then return started() end
  -- It was under way for longer than its worker's lock: by now another may run the job, and must not lose it to this one.
  if redis.call('GET', KEYS[6]) ~= ARGV[7] then return {'not_wanted'} end
  local id, now, worker, max, prefix = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[6]
  redis.call('ZREM', KEYS[3], id)
  if batch then batch = prefix .. ':batch:' .. batch end
  if state == 'queued' then
    leave_lane(prefix .. ':lane:' .. known[5], KEYS[1], true)
    if batch and redis.call('HEXISTS', batch, 'stopping') == 1 then
      return {'cancelled', redis.call('HGETALL', KEYS[1])}
    end
  end
  local starts = tonumber(known[7])
  if starts == 0 and tonumber(known[8]) <= now then
    return {'expired', redis.call('HGETALL', KEYS[1])}
  end
  if starts >= max then return {'exhausted', redis.call('HGETALL', KEYS[1])} end
  if state == 'queued' then
    if cap and (tonumber(redis.call('HGET', KEYS[4], tenant)) or 0) >= cap then
      redis.call('RPUSH', prefix .. ':tenant:' .. tenant .. ':parked', id)
      return {'parked'}
    end
    local holds = known[9]
    local full = holds and take_turns(prefix, holds, now, now + tonumber(known[10]))
    if full then
      redis.call('RPUSH', full .. '${LINE}', id)
      return {'parked'}
    end
    redis.call('HINCRBY', KEYS[4], tenant, 1)
    if batch then redis.call('HINCRBY', batch, 'running', 1) end
  end
  redis.call('HSET', KEYS[1], 'state', 'running', 'starts', starts + 1, 'takenAt', now, 'worker', worker,
    'beganBy', ARGV[5])
  redis.call('HINCRBY', KEYS[1], 'fence', 1)
  redis.call('ZADD', KEYS[2], now + tonumber(known[10]), id)
  return started()
`);

export async function beginJob(
  redis: Redis,
  begin: { id: string; nowMs: number; worker: string; held: Held },
): Promise<Begun> {
  const [kind, flat, killed] = (await BEGIN.run(
    redis,
    [
      keys.job(begin.id),
      keys.running(),
      keys.unqueued(),
      keys.tenantsRunning(),
      keys.killSwitch(),
      lockKey(begin.held.lane, begin.id),
    ],
    [begin.id, begin.nowMs, begin.worker, MAX_STARTS, randomUUID(), PREFIX, begin.held.token],
  )) as [Begun['kind'], string[]?, string?];
  if (kind === 'not_wanted' || kind === 'parked' || flat === undefined) {
    return { kind: kind === 'parked' ? kind : 'not_wanted' };
  }
  const fields = fieldsOf(flat);
  const record = recordOf(fields);
  if (kind !== 'started') return { kind, record };
  return { kind, record, start: record.fence, spec: fields.spec ?? '', killed };
}

/** What a worker takes at most to put a job that it handed back into the queue. */
const BACK_WITHIN_MS = 5_000;

/* KEYS job, running, unqueued, tenants running */
const HAND_BACK = defineScript(`${FAIR_SHARE}
  local known = redis.call('HMGET', KEYS[1], 'state', 'fence', 'starts', 'tenant', 'batch', 'lane')
  -- The same call once more: its answer was lost with a connection, not its effect.
  if known[1] == 'queued' and known[2] == ARGV[2] then return 1 end
  if known[1] ~= 'running' or known[2] ~= ARGV[2] then return 0 end
  -- First of all what only shrinks: Redis at its memory limit lets a script go on that began so.
  redis.call('ZREM', KEYS[2], ARGV[1])
  if redis.call('HINCRBY', KEYS[4], known[4], -1) <= 0 then redis.call('HDEL', KEYS[4], known[4]) end
  if known[5] then redis.call('HINCRBY', ARGV[5] .. ':batch:' .. known[5], 'running', -1) end
  local starts = tonumber(known[3])
  if ARGV[3] ~= 'yes' then starts = starts - 1 end
  if ARGV[3] == 'no' then redis.call('HINCRBY', KEYS[1], 'handedBack', 1) end
  redis.call('HSET', KEYS[1], 'state', 'queued', 'starts', starts)
  return_to_lane(ARGV[5] .. ':lane:' .. known[6], KEYS[1])
  redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
  return 1
`);

export interface HandBack {
  readonly id: string;
  readonly start: number;
  /** `elsewhere`: nothing ran, since the job is for another worker; that is no try that failed. */
  readonly ran: 'no' | 'elsewhere' | 'yes';
  /** When it should be in the queue again; the sweep looks after it from then on. */
  readonly backAtMs?: number;
}

/** Back to queued. A start that ran nothing does not count as one. False when the fence refused. */
export async function handBackJob(redis: Redis, job: HandBack): Promise<boolean> {
  const watchedFromMs = (job.backAtMs ?? Date.now()) + BACK_WITHIN_MS;
  const args = [job.id, job.start, job.ran, watchedFromMs, PREFIX];
  const touched = [keys.job(job.id), keys.running(), keys.unqueued(), keys.tenantsRunning()];
  return (await HAND_BACK.run(redis, touched, args)) === 1;
}
