/**
 * Moves the times of a lane back when they come near to what the queue's library can hold: in a lane that is never
 * empty, once in about a million jobs. What waits keeps its order. An entry that was on its way into the queue arrives
 * with its old turn, far behind: it is given the new one a little later.
 */
import type { Redis } from 'ioredis';
import { LANES, type Lane } from '../contract/lane.ts';
import { keys, PREFIX } from './keys.ts';
import { MAX_PRIORITY, QUEUE_PREFIX } from './options.ts';
import { prioritizedKey } from './queue-age.ts';
import { defineScript } from './script.ts';

/** In this library a place in the queue is priority × 2^32 and a counter. */
const SCORES_A_PRIORITY = 2 ** 32;

const PLACE = `
  local prefix, queue, width = ARGV[1], ARGV[2], ${SCORES_A_PRIORITY}
  -- Gives a job in the queue the turn that its tag says.
  local function place(prioritized, id)
    local tag = tonumber(redis.call('HGET', prefix .. ':job:' .. id, 'tag'))
    local score = tonumber(redis.call('ZSCORE', prioritized, id) or nil)
    if not tag then return end
    local priority = math.floor(tag) + 1
    if score then redis.call('ZADD', prioritized, priority * width + score % width, id) end
    -- One that was put off takes its turn from here once it comes back.
    if redis.call('EXISTS', queue .. id) == 1 then redis.call('HSET', queue .. id, 'priority', priority) end
  end
`;

/* KEYS lane, prioritized, unqueued */
const REBASE = defineScript(`${PLACE}
  local base = math.floor(tonumber(redis.call('HGET', KEYS[1], 'time') or 0))
  if base < tonumber(ARGV[3]) then return {} end
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field ~= 'waiting' then
      local left = tonumber(redis.call('HGET', KEYS[1], field)) - base
      if left <= 0 and field ~= 'time' then
        redis.call('HDEL', KEYS[1], field)
      else
        redis.call('HSET', KEYS[1], field, left)
      end
    end
  end
  local function move_back(id)
    local job = prefix .. ':job:' .. id
    local known = redis.call('HMGET', job, 'tag', 'lane')
    if not known[1] or known[2] ~= ARGV[4] then return false end
    redis.call('HSET', job, 'tag', math.max(0, tonumber(known[1]) - base))
    return true
  end
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    if move_back(id) then place(KEYS[2], id) end
  end
  local coming = {}
  for _, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    if not redis.call('ZSCORE', KEYS[2], id) and move_back(id) then
      place(KEYS[2], id)
      coming[#coming + 1] = id
    end
  end
  return coming
`);

/* KEYS prioritized */
const CORRECT = defineScript(`${PLACE}
  for at = 3, #ARGV do place(KEYS[1], ARGV[at]) end
  return 1
`);

const queueOf = (lane: Lane): string => `${QUEUE_PREFIX}:${lane}:`;

/** Jobs that are on their way into a lane, with the turn that they had before. */
export type Coming = readonly { readonly lane: Lane; readonly ids: readonly string[] }[];

export async function rebaseLanes(redis: Redis, atTime = MAX_PRIORITY / 2): Promise<Coming> {
  const coming: { lane: Lane; ids: string[] }[] = [];
  for (const lane of LANES) {
    const ids = (await REBASE.run(
      redis,
      [keys.lane(lane), prioritizedKey(lane), keys.unqueued()],
      [PREFIX, queueOf(lane), atTime, lane],
    )) as string[];
    if (ids.length > 0) coming.push({ lane, ids });
  }
  return coming;
}

/** To be called once they are there. */
export async function correctTurns(redis: Redis, coming: Coming): Promise<void> {
  for (const { lane, ids } of coming) {
    await CORRECT.run(redis, [prioritizedKey(lane)], [PREFIX, queueOf(lane), ...ids]);
  }
}
