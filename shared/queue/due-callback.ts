/**
 * The Lua with which a callback becomes due, to stand in the script that ends what it tells of: the end and its callback
 * are one step, and no process can die between them.
 *
 * Deliveries wait in lanes, one for each target of each tenant, so that a target that does not answer holds up nobody
 * else's. `lanes` holds each lane by when its first delivery is due. All times here are those of Redis: one clock for
 * all processes.
 *
 *     (nothing) ── due ──► waiting ── claim ──► being sent ── sent ──► (nothing)
 *                            ▲  ▲                  │
 *                            │  └── retry, lease over ── dead ──► dead letter ── 7 days ──► (nothing)
 *                            └──────────── replay ───────────────────┘
 */

/** Of one tenant, waiting; more become dead letters at once: a target that is down must not fill Redis. */
const MAX_WAITING = 20_000;
/** Of one tenant; the oldest go first. */
const MAX_DEAD = 1_000;
const DEAD_MS = 7 * 24 * 3_600_000;

export const DUE_CALLBACK = `
  local function redis_ms()
    local at = redis.call('TIME')
    return at[1] * 1000 + math.floor(at[2] / 1000)
  end

  local function correct_callback_lane(prefix, lane)
    local first = redis.call('ZRANGE', prefix .. ':callbacks:lane:' .. lane, 0, 0, 'WITHSCORES')
    if first[1] then
      redis.call('ZADD', prefix .. ':callbacks:lanes', first[2], lane)
    else
      redis.call('ZREM', prefix .. ':callbacks:lanes', lane)
    end
  end

  local function bury_callback(prefix, id, tenant, reason)
    local now, dead = redis_ms(), prefix .. ':callbacks:dead:' .. tenant
    local over = redis.call('ZRANGE', dead, 0, -${MAX_DEAD})
    for _, old in ipairs(over) do redis.call('DEL', prefix .. ':callback:' .. old) end
    if #over > 0 then redis.call('ZREM', dead, unpack(over)) end
    redis.call('ZREMRANGEBYSCORE', dead, '-inf', now - ${DEAD_MS})
    redis.call('HSET', prefix .. ':callback:' .. id, 'deadAt', now, 'reason', reason)
    redis.call('PEXPIRE', prefix .. ':callback:' .. id, ${DEAD_MS})
    redis.call('ZADD', dead, now, id)
    redis.call('PEXPIRE', dead, ${DEAD_MS})
  end

  local function wait_callback(prefix, id, tenant, lane)
    local now = redis_ms()
    redis.call('HINCRBY', prefix .. ':callbacks:waiting', tenant, 1)
    redis.call('ZADD', prefix .. ':callbacks:lane:' .. lane, now, id)
    redis.call('ZADD', prefix .. ':callbacks:lanes', 'LT', now, lane)
  end

  -- about: type, subject, tenant, at; perhaps outcome, data. callback: as callbackField makes it.
  local function due_callback(prefix, about, callback)
    local to = cjson.decode(callback)
    local id, lane = 'cb_' .. about.subject, about.tenant .. ' ' .. to.target
    local key = prefix .. ':callback:' .. id
    if redis.call('EXISTS', key) == 1 then return false end
    redis.call('HSET', key, 'type', about.type, 'subject', about.subject, 'tenant', about.tenant, 'lane', lane,
      'url', to.url, 'at', about.at, 'attempts', 0)
    if to.includeOutput == false then redis.call('HSET', key, 'withoutOutput', 1) end
    if about.outcome then redis.call('HSET', key, 'outcome', about.outcome) end
    if about.data then redis.call('HSET', key, 'data', about.data) end
    local waiting = tonumber(redis.call('HGET', prefix .. ':callbacks:waiting', about.tenant) or 0)
    if waiting >= ${MAX_WAITING} then
      bury_callback(prefix, id, about.tenant, 'not sent: too many callbacks of this tenant wait')
    else
      wait_callback(prefix, id, about.tenant, lane)
    end
    return true
  end

  local function due_batch_callback(prefix, key, batch, now)
    local known = redis.call('HMGET', key, 'callback', 'tenant')
    if not known[1] then return end
    due_callback(prefix, {type = 'batch.done', subject = batch, tenant = known[2], at = now}, known[1])
  end
`;

/** Where a callback goes, as a record holds it. */
export interface CallbackAddress {
  readonly url: string;
  /** `host:port`: what shares a lane. */
  readonly target: string;
  readonly includeOutput: boolean;
}

/** The field `callback` of a job's or a batch's record. */
export const callbackField = (address: CallbackAddress): string => JSON.stringify(address);
