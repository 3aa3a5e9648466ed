/**
 * What goes into the queue now that a job has ended: the next of its batch, which keeps only a window of its jobs there,
 * and the next of its tenant, when that one runs as many as it may. Whoever settles a job puts these entries into the
 * queue; until then they are marked, so that the sweep does it should that process die.
 *
 * Lua, to stand behind FAIR_SHARE in a script.
 */
import { RELEASE_CHUNK } from './options.ts';

export const RELEASE = `
  local function enter_queue(entries, prefix, id, now, had_turn)
    local job = prefix .. ':job:' .. id
    local known = redis.call('HMGET', job, 'state', 'lane', 'tenant', 'cost')
    -- Settled while it waited, or here twice.
    if known[1] ~= 'queued' or redis.call('HEXISTS', job, 'tag') == 1 then return false end
    local lane = prefix .. ':lane:' .. known[2]
    local priority
    if had_turn then
      priority = return_to_lane(lane, job)
    else
      priority = enter_lane(lane, job, known[3], tonumber(known[4] or 1))
    end
    redis.call('ZADD', prefix .. ':unqueued', now, id)
    entries[#entries + 1] = id
    entries[#entries + 1] = known[2]
    entries[#entries + 1] = priority
    entries[#entries + 1] = had_turn and 1 or 0
    return true
  end

  -- Not one by one: the window is filled again once a part of it is free. A job that awaits its approval is passed over;
  -- once approved it is the next.
  local function release_batch(entries, prefix, batch, now)
    local known = redis.call('HMGET', batch, 'window', 'out', 'released', 'total', 'stopping')
    local window, out, released = tonumber(known[1]), tonumber(known[2]), tonumber(known[3])
    local total = tonumber(known[4])
    local approved = batch .. ':approved'
    local passed = redis.call('LLEN', approved)
    if not window or known[5] or (released >= total and passed == 0) then return end
    if out > 0 and window - out < math.min(${RELEASE_CHUNK}, math.ceil(window / 4)) then return end
    local function let_out(id)
      if not enter_queue(entries, prefix, id, now) then return false end
      redis.call('HSET', prefix .. ':job:' .. id, 'out', 1)
      out = out + 1
      return true
    end
    while passed > 0 and out < window do
      let_out(redis.call('LPOP', approved))
      passed = passed - 1
    end
    while released < total and out < window do
      local most = math.min(${RELEASE_CHUNK}, window - out)
      for _, id in ipairs(redis.call('LRANGE', batch .. ':jobs', released, released + most - 1)) do
        released = released + 1
        local job = prefix .. ':job:' .. id
        if not let_out(id) and redis.call('HGET', job, 'state') == 'awaiting_approval' then
          redis.call('HSET', job, 'passed', 1)
        end
      end
    end
    redis.call('HSET', batch, 'out', out, 'released', released)
  end

  -- By the bound of the one that waits: what ended may be from before its tenant had one.
  local function release_parked(entries, prefix, tenant, now)
    local parked = prefix .. ':tenant:' .. tenant .. ':parked'
    local running = tonumber(redis.call('HGET', prefix .. ':tenants:running', tenant)) or 0
    while true do
      local id = redis.call('LINDEX', parked, 0)
      if not id then return end
      local cap = tonumber(redis.call('HGET', prefix .. ':job:' .. id, 'cap') or nil)
      if cap and running >= cap then return end
      redis.call('LPOP', parked)
      if enter_queue(entries, prefix, id, now, true) then running = running + 1 end
    end
  end

  local function count_down(key, field)
    if redis.call('HINCRBY', key, field, -1) <= 0 then redis.call('HDEL', key, field) end
  end
`;
