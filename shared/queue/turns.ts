/**
 * Places of concurrency whose rule says `queue`: the job is admitted, and waits for its turn. A worker that begins it
 * takes its places, all or none; where one is full, the job leaves the queue and stands in line at that bound, until an
 * end of a job that has a place lets it in again. See holds.ts for how the record says which bounds these are.
 *
 * Lua: TAKE_TURNS for begin; RELEASE_WAITING, to stand behind RELEASE, for settle.
 */

/** Answers the key of a bound that is full, or nil once all places are taken. Taken again, they are the same places. */
export const TAKE_TURNS = `
  local function take_turns(prefix, text, now, till)
    local turns = {}
    for _, hold in ipairs(cjson.decode(text)) do
      if hold[1] == 'turn' then
        local key = prefix .. ':limit:' .. hold[2]
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
        if redis.call('ZCARD', key) >= hold[4] and not redis.call('ZSCORE', key, hold[3]) then return key end
        turns[#turns + 1] = {key, hold[3]}
      end
    end
    for _, turn in ipairs(turns) do redis.call('ZADD', turn[1], till, turn[2]) end
    return nil
  end
`;

/** The line of those that wait at a bound, for a key of a bound. */
export const LINE = ':line';

export const RELEASE_WAITING = `
  local function release_waiting(entries, prefix, key, places, now)
    while redis.call('ZCARD', key) < places do
      local id = redis.call('LPOP', key .. '${LINE}')
      if not id or enter_queue(entries, prefix, id, now, true) then return end
    end
  end
`;
