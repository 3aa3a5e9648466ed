/**
 * Whose turn it is: start-time fair queueing (Goyal, Vin and Cheng 1996) over the tenants of a lane. A lane has a
 * virtual time; a job that enters the queue is tagged with the later of that time and its tenant's own, and moves its
 * tenant's time on by 1 / weight. The queue runs the least tag first, and the lane's time is the tag of what ran last.
 * So a tenant with 50,000 waiting jobs is far ahead of time with the last of them, and one that comes anew is next.
 *
 * A lane's hash holds `time`, `waiting` (jobs with a tag), and `of:<tenant>`. It goes when nothing waits: time begins
 * anew. Priorities are whole numbers below MAX_PRIORITY, so a lane that never empties has its times moved back
 * (see rebase.ts) once in about a million jobs.
 *
 * Lua, to stand at the head of a script. A job's record holds `tag` exactly while it is counted in `waiting`.
 */
export const FAIR_SHARE = `
  local function enter_lane(lane_key, job_key, tenant, cost)
    local time = tonumber(redis.call('HGET', lane_key, 'time')) or 0
    local own = tonumber(redis.call('HGET', lane_key, 'of:' .. tenant)) or 0
    local tag = math.max(time, own)
    redis.call('HSET', lane_key, 'of:' .. tenant, tag + cost)
    redis.call('HINCRBY', lane_key, 'waiting', 1)
    redis.call('HSET', job_key, 'tag', tag)
    return math.floor(tag) + 1, tag - time
  end
  -- One that had its turn and could not use it has paid for it: it is next, and moves nobody's time.
  local function return_to_lane(lane_key, job_key)
    local time = tonumber(redis.call('HGET', lane_key, 'time')) or 0
    redis.call('HINCRBY', lane_key, 'waiting', 1)
    redis.call('HSET', job_key, 'tag', time)
    return math.floor(time) + 1
  end
  local function leave_lane(lane_key, job_key, is_taken)
    local tag = tonumber(redis.call('HGET', job_key, 'tag'))
    if not tag then return end
    redis.call('HDEL', job_key, 'tag')
    if redis.call('HINCRBY', lane_key, 'waiting', -1) <= 0 then
      redis.call('DEL', lane_key)
    elseif is_taken and tag > (tonumber(redis.call('HGET', lane_key, 'time')) or 0) then
      redis.call('HSET', lane_key, 'time', tag)
    end
  end
`;

/** What one job of a tenant costs it in virtual time. */
export const costOf = (weight: number): number => 1 / weight;

/** A place in a queue. */
export interface Entry {
  readonly id: string;
  readonly lane: string;
  readonly priority: number;
  /** It was in the queue before, and may be on its way out of there still. */
  readonly isBack?: boolean;
}

/** Entries as a script returns them: id, lane, priority, whether it is back, in turn. */
export function entriesOf(flat: readonly (string | number)[]): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at + 3 < flat.length; at += 4) {
    entries.push({
      id: String(flat[at]),
      lane: String(flat[at + 1]),
      priority: Number(flat[at + 2]),
      isBack: Number(flat[at + 3]) === 1,
    });
  }
  return entries;
}
