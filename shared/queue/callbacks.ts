/** Deliveries that wait, are being sent, or were given up; their life is at the head of due-callback.ts. */
import type { Redis } from 'ioredis';
import type { DeadCallback } from '../contract/callback.ts';
import { type CallbackAddress, callbackField, DUE_CALLBACK } from './due-callback.ts';
import { fieldsOf } from './job-record.ts';
import { keys, PREFIX } from './keys.ts';
import { defineScript } from './script.ts';

/** Lanes that one claim looks at. */
const LANES_AT_ONCE = 256;
/** How long a lane stands aside whose tenant has enough under way. */
const ASIDE_MS = 200;

export interface Delivery {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly tenant: string;
  /** The tenant and `host:port`. */
  readonly lane: string;
  readonly url: string;
  readonly atMs: number;
  /** This one counted; what fences it off from a later one. */
  readonly attempt: number;
  readonly includeOutput: boolean;
  /** Of a job, as JSON. */
  readonly outcome: string | null;
  /** Of a notice, as JSON. */
  readonly data: string | null;
}

/* ARGV prefix, wanted, lease, most of a lane, most of a tenant, lanes under way as JSON */
const CLAIM = defineScript(`${DUE_CALLBACK}
  local prefix, wanted, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
  local per_lane, per_tenant, busy = tonumber(ARGV[4]), tonumber(ARGV[5]), cjson.decode(ARGV[6])
  local function tenant_of(lane) return string.match(lane, '^%S+') end
  local now, of_tenant, claimed = redis_ms(), {}, {}
  for lane, count in pairs(busy) do of_tenant[tenant_of(lane)] = (of_tenant[tenant_of(lane)] or 0) + count end
  for _, lane in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ${LANES_AT_ONCE})) do
    if wanted <= 0 then break end
    local tenant, waiting = tenant_of(lane), prefix .. ':callbacks:lane:' .. lane
    local room = per_tenant - (of_tenant[tenant] or 0)
    if room <= 0 then
      redis.call('ZADD', KEYS[1], now + ${ASIDE_MS}, lane)
    else
      room = math.min(room, wanted, per_lane - (busy[lane] or 0))
      if room > 0 then
        for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, room)) do
          local key = prefix .. ':callback:' .. id
          if redis.call('HEXISTS', key, 'lane') == 1 then
            redis.call('HINCRBY', key, 'attempts', 1)
            redis.call('ZADD', waiting, now + lease, id)
            claimed[#claimed + 1] = {id, redis.call('HGETALL', key)}
            of_tenant[tenant] = (of_tenant[tenant] or 0) + 1
            wanted = wanted - 1
          else
            redis.call('ZREM', waiting, id)
          end
        end
        correct_callback_lane(prefix, lane)
      end
    end
  end
  return claimed
`);

/** Takes deliveries that are due; whoever does not end one within the lease loses it to the next who asks. */
export async function claimCallbacks(
  redis: Redis,
  claim: {
    wanted: number;
    leaseMs: number;
    maxOfLane: number;
    maxOfTenant: number;
    /** Lane → deliveries that this process has under way. */
    underWay: Readonly<Record<string, number>>;
  },
): Promise<Delivery[]> {
  const { wanted, leaseMs, maxOfLane, maxOfTenant, underWay } = claim;
  const claimed = (await CLAIM.run(
    redis,
    [keys.callbackLanes()],
    [PREFIX, wanted, leaseMs, maxOfLane, maxOfTenant, JSON.stringify(underWay)],
  )) as [string, string[]][];
  return claimed.map(([id, flat]) => deliveryOf(id, fieldsOf(flat)));
}

const deliveryOf = (id: string, fields: Readonly<Record<string, string>>): Delivery => ({
  id,
  type: fields.type ?? '',
  subject: fields.subject ?? '',
  tenant: fields.tenant ?? '',
  lane: fields.lane ?? '',
  url: fields.url ?? '',
  atMs: Number(fields.at),
  attempt: Number(fields.attempts),
  includeOutput: fields.withoutOutput === undefined,
  outcome: fields.outcome ?? null,
  data: fields.data ?? null,
});

/* KEYS delivery; ARGV prefix, id, attempt, what became of it, reason, wait. What only shrinks comes first: see settle.ts. */
const END = defineScript(`${DUE_CALLBACK}
  local prefix, id, attempt, became, reason, wait = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
  local known = redis.call('HMGET', KEYS[1], 'lane', 'tenant', 'attempts', 'deadAt')
  local lane, tenant = known[1], known[2]
  if not lane then return 0 end
  -- What arrived has arrived, whoever may be sending it again by now; all else is for the last who claimed it.
  if became ~= 'sent' and (known[3] ~= attempt or known[4]) then return 0 end
  local waiting = prefix .. ':callbacks:lane:' .. lane
  local function leave()
    redis.call('ZREM', waiting, id)
    local left = prefix .. ':callbacks:waiting'
    if redis.call('HINCRBY', left, tenant, -1) <= 0 then redis.call('HDEL', left, tenant) end
    correct_callback_lane(prefix, lane)
  end
  if became == 'sent' then
    redis.call('DEL', KEYS[1])
    if known[4] then redis.call('ZREM', prefix .. ':callbacks:dead:' .. tenant, id) else leave() end
  elseif became == 'dead' then
    leave()
    bury_callback(prefix, id, tenant, reason)
  else
    if became == 'returned' then redis.call('HINCRBY', KEYS[1], 'attempts', -1) end
    redis.call('ZADD', waiting, redis_ms() + wait, id)
    correct_callback_lane(prefix, lane)
  end
  return 1
`);

export type DeliveryEnd =
  | { readonly became: 'sent' }
  | { readonly became: 'retried'; readonly waitMs: number }
  | { readonly became: 'dead'; readonly reason: string }
  /** This process stops: the attempt does not count. */
  | { readonly became: 'returned' };

/** False where it is no longer this attempt's to end. */
export async function endCallback(
  redis: Redis,
  { id, attempt }: Pick<Delivery, 'id' | 'attempt'>,
  end: DeliveryEnd,
): Promise<boolean> {
  const reason = end.became === 'dead' ? end.reason : '';
  const waitMs = end.became === 'retried' ? Math.round(end.waitMs) : 0;
  const args = [PREFIX, id, attempt, end.became, reason, waitMs];
  return (await END.run(redis, [keys.callback(id)], args)) === 1;
}

/* KEYS delivery; ARGV prefix, id, tenant */
const REPLAY = defineScript(`${DUE_CALLBACK}
  local known = redis.call('HMGET', KEYS[1], 'tenant', 'lane', 'deadAt')
  if known[1] ~= ARGV[3] or not known[3] then return 0 end
  redis.call('HDEL', KEYS[1], 'deadAt', 'reason')
  redis.call('HSET', KEYS[1], 'attempts', 0)
  redis.call('PERSIST', KEYS[1])
  redis.call('ZREM', ARGV[1] .. ':callbacks:dead:' .. ARGV[3], ARGV[2])
  wait_callback(ARGV[1], ARGV[2], ARGV[3], known[2])
  return 1
`);

/** A dead letter is due again, as if it were new; false where the tenant has none by that id. */
export const replayCallback = async (redis: Redis, tenant: string, id: string): Promise<boolean> =>
  (await REPLAY.run(redis, [keys.callback(id)], [PREFIX, id, tenant])) === 1;

/* ARGV prefix, type, subject, tenant, time, data, callback */
const NOTIFY = defineScript(`${DUE_CALLBACK}
  local about = {type = ARGV[2], subject = ARGV[3], tenant = ARGV[4], at = ARGV[5], data = ARGV[6]}
  return due_callback(ARGV[1], about, ARGV[7]) and 1 or 0
`);

/** Something to tell that is the end of no job. False while one of the same subject is still to be sent. */
export async function dueNotice(
  redis: Redis,
  notice: { type: string; subject: string; tenant: string; data: string; to: CallbackAddress },
): Promise<boolean> {
  const { type, subject, tenant, data, to } = notice;
  const args = [PREFIX, type, subject, tenant, Date.now(), data, callbackField(to)];
  return (await NOTIFY.run(redis, [keys.callback(`cb_${subject}`)], args)) === 1;
}

/** A tenant's dead letters, the newest first. */
export async function readDeadCallbacks(
  redis: Redis,
  tenant: string,
  most: number,
): Promise<DeadCallback[]> {
  const ids = await redis.zrevrange(keys.callbacksDead(tenant), 0, most - 1);
  const all = await Promise.all(ids.map((id) => redis.hgetall(keys.callback(id))));
  return all.flatMap((fields, index) => {
    if (fields.deadAt === undefined) return [];
    return {
      id: ids[index] as string,
      type: fields.type ?? '',
      subject: fields.subject ?? '',
      url: fields.url ?? '',
      at: new Date(Number(fields.at)).toISOString(),
      deadAt: new Date(Number(fields.deadAt)).toISOString(),
      attempts: Number(fields.attempts),
      reason: fields.reason ?? '',
    };
  });
}

/** Since when the delivery that is due the longest is; undefined when none is. */
export async function oldestDueMs(redis: Redis): Promise<number | undefined> {
  const [, dueMs] = await redis.zrange(keys.callbackLanes(), 0, 0, 'WITHSCORES');
  return dueMs === undefined ? undefined : Number(dueMs);
}
