/**
 * The Lua of reserve.ts: looks at all counters of a call, then charges all or none, and goes on with the next call.
 *
 * ARGV: prefix, `charge` or `peek`, a JSON list of calls, each a list of charges. The answer: now, then for each call
 * whether it was charged and for each of its charges {verdict, left, ms until it would fit, number of the window}.
 *
 * `look` tells whether a charge fits, `take` makes it; both by kind of counter. Sums are whole numbers, compared after
 * multiplying by the window's length instead of dividing, so that nothing is lost to rounding.
 */
import { defineScript } from './script.ts';

/** A place comes free when a job ends, which nobody can know ahead: ask again after this. */
const PLACE_RETRY_MS = 2_000;

const LOOK = `
  local FITS, OVER, NEVER = 0, 1, 2
  local look, take = {}, {}

  function look.log(key, c)
    if c.amount > c.max then return NEVER, 0, 0, 0 end
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now - c.windowMs)
    local left = c.max - redis.call('ZCARD', key)
    if c.amount <= left then return FITS, left - c.amount, 0, 0 end
    -- The one whose going makes room.
    local rank = c.amount - left - 1
    local oldest = redis.call('ZRANGE', key, rank, rank, 'WITHSCORES')
    return OVER, math.max(0, left), tonumber(oldest[2]) + c.windowMs - now, 0
  end

  local function sums(key, window)
    local index = math.floor(now / window)
    local f = redis.call('HMGET', key, 'i', 'c', 'p')
    local at, current, before = tonumber(f[1] or -2), tonumber(f[2] or 0), tonumber(f[3] or 0)
    if at == index then return index, current, before end
    return index, 0, at == index - 1 and current or 0
  end

  function look.weighted(key, c)
    local window = c.windowMs
    local index, current, before = sums(key, window)
    if c.amount > c.max then return NEVER, 0, 0, index end
    local in_view = window - now % window
    local room = (c.max - current) * window - before * in_view
    local left = math.floor(room / window)
    if c.amount * window <= room then return FITS, left - c.amount, 0, index end
    local wait
    if current + c.amount <= c.max then
      wait = in_view - math.floor((c.max - current - c.amount) * window / before)
    else
      -- Then this window is the earlier one.
      wait = in_view + window - math.min(window, math.floor((c.max - c.amount) * window / current))
    end
    return OVER, math.max(0, left), math.max(1, wait), index
  end

  function look.fixed(key, c)
    local index, current = sums(key, c.windowMs)
    if c.amount > c.max then return NEVER, 0, 0, index end
    local left = c.max - current
    if c.amount <= left then return FITS, left - c.amount, 0, index end
    return OVER, math.max(0, left), (index + 1) * c.windowMs - now, index
  end

  -- In tokens times the window's length.
  local function level_of(key, c)
    local f = redis.call('HMGET', key, 'level', 'at')
    local full = c.burst * c.windowMs
    if not f[1] then return full end
    return math.min(full, tonumber(f[1]) + math.max(0, now - tonumber(f[2])) * c.max)
  end

  function look.bucket(key, c)
    if c.amount > c.burst or c.max <= 0 then return NEVER, 0, 0, 0 end
    local level, cost = level_of(key, c), c.amount * c.windowMs
    local left = math.floor(level / c.windowMs)
    if cost <= level then return FITS, left - c.amount, 0, 0 end
    return OVER, math.max(0, left), math.ceil((cost - level) / c.max), 0
  end

  function look.place(key, c)
    if c.max <= 0 then return NEVER, 0, 0, 0 end
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    local left = c.max - redis.call('ZCARD', key)
    if left > 0 then return FITS, left - 1, 0, 0 end
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    return OVER, 0, math.min(${PLACE_RETRY_MS}, tonumber(first[2]) - now), 0
  end

  -- Taken when the job begins.
  function look.turn(key, c)
    if c.max <= 0 then return NEVER, 0, 0, 0 end
    return FITS, math.max(0, c.max - redis.call('ZCARD', key)), 0, 0
  end
`;

const TAKE = `
  function take.log(key, c)
    for n = 1, c.amount do redis.call('ZADD', key, now, c.at .. ':' .. n) end
    redis.call('PEXPIRE', key, c.windowMs)
  end

  function take.weighted(key, c)
    local index, current, before = sums(key, c.windowMs)
    redis.call('HSET', key, 'i', string.format('%.0f', index), 'c', string.format('%.0f', current + c.amount),
      'p', string.format('%.0f', before))
    redis.call('PEXPIRE', key, 2 * c.windowMs)
  end

  take.fixed = take.weighted

  function take.bucket(key, c)
    local level = level_of(key, c) - c.amount * c.windowMs
    redis.call('HSET', key, 'level', string.format('%.17g', level), 'at', string.format('%.0f', now))
    -- Forgotten once it is full again, which is what an unknown one is.
    redis.call('PEXPIRE', key, string.format('%.0f', math.ceil((c.burst * c.windowMs - level) / c.max)))
  end

  function take.place(key, c)
    redis.call('ZADD', key, now + c.forMs, c.at)
    local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
    redis.call('PEXPIREAT', key, last[2])
  end

  function take.turn() end
`;

/* No KEYS: counters are named by the calls. */
export const CHARGE = defineScript(`
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  ${LOOK}
  ${TAKE}
  local answer = {now}
  for _, charges in ipairs(cjson.decode(ARGV[3])) do
    local seen, admitted = {1}, true
    for at, c in ipairs(charges) do
      c.key = ARGV[1] .. ':limit:' .. c.counter
      local verdict, left, wait, slot = look[c.kind](c.key, c)
      if verdict ~= FITS and c.hard then admitted = false end
      seen[at + 1] = {verdict, left, wait, slot}
    end
    if not admitted then
      seen[1] = 0
    elseif ARGV[2] == 'charge' then
      for at, c in ipairs(charges) do
        if seen[at + 1][1] == FITS then take[c.kind](c.key, c) end
      end
    end
    answer[#answer + 1] = seen
  end
  return answer
`);
