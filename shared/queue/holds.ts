/**
 * What a job holds of the policy's limits, and how it is given back. A hold is one charge that reserve.ts made: a place
 * under a bound of concurrency, or an amount in a window. Whoever reserved and then admits nothing gives all of it back;
 * at a job's end its places come back and its meters are corrected from the most it could use to what it used. Calls and
 * jobs that were made stay counted. A place is reserved for a minute only, and kept for longer by the script that admits
 * its job: what a process reserved that died before that comes back soon.
 */
import type { Redis } from 'ioredis';
import { PREFIX } from './keys.ts';
import { defineScript } from './script.ts';

export type HoldKind = 'log' | 'weighted' | 'fixed' | 'bucket' | 'place' | 'turn';

export interface Hold {
  readonly kind: HoldKind;
  /** The rest of the key that keys.limit makes. */
  readonly counter: string;
  /** Its member in a log or among places, or the number of the window that it was charged to. */
  readonly at: string;
  /** For `turn`: how many places there are. */
  readonly amount: number;
  readonly meter: string;
  /** Of a bucket; of a place, how long at most it is held once its job is admitted. */
  readonly windowMs: number;
  /** Of a bucket. */
  readonly burst: number;
}

/** What a job used of each meter. */
export interface Used {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly outputBytes: number;
}

export const USED_NOTHING: Used = { wallMs: 0, cpuMs: 0, outputBytes: 0 };

type Encoded = readonly [HoldKind, string, string, number, string, number, number];

const encode = (hold: Hold): Encoded => [
  hold.kind,
  hold.counter,
  hold.at,
  hold.amount,
  hold.meter,
  hold.windowMs,
  hold.burst,
];

const isSettled = ({ kind, meter }: Hold): boolean =>
  kind === 'place' || kind === 'turn' || (meter !== 'calls' && meter !== 'jobs');

/** The field `holds` of a job's record: what its end gives back; null when that is nothing. */
export function recordedHolds(holds: readonly Hold[]): string | null {
  const kept = holds.filter(isSettled);
  return kept.length === 0 ? null : JSON.stringify(kept.map(encode));
}

/**
 * Lua. `used` by meter; false when nobody knows what was used: then meters stay at what was reserved. Calls `freed` with
 * the key of each bound that jobs stand in line at, and how many places it has.
 */
export const RETURN_HOLDS = `
  local function give_back(key, kind, at, back, window, burst)
    local f = redis.call('HMGET', key, 'i', 'c', 'p', 'level')
    if kind == 'bucket' then
      if not f[4] then return end
      local level = math.min(burst * window, tonumber(f[4]) + back * window)
      redis.call('HSET', key, 'level', string.format('%.17g', level))
    elseif f[1] and tonumber(f[1]) == tonumber(at) then
      redis.call('HSET', key, 'c', string.format('%.0f', math.max(0, tonumber(f[2]) - back)))
    elseif f[1] and kind == 'weighted' and tonumber(f[1]) == tonumber(at) + 1 then
      redis.call('HSET', key, 'p', string.format('%.0f', math.max(0, tonumber(f[3]) - back)))
    end
  end

  local function return_holds(prefix, text, used, freed)
    for _, hold in ipairs(cjson.decode(text)) do
      local kind, key, at, amount, meter = hold[1], prefix .. ':limit:' .. hold[2], hold[3], hold[4], hold[5]
      if kind == 'place' or kind == 'turn' then
        redis.call('ZREM', key, at)
        if freed and kind == 'turn' then freed(key, amount) end
      elseif kind == 'log' then
        for n = 1, amount do redis.call('ZREM', key, at .. ':' .. n) end
      elseif used then
        give_back(key, kind, at, amount - (used[meter] or 0), hold[6], hold[7])
      end
    end
  end
`;

/** Lua, to stand in a script that admits: the places of a job are its own from here on. */
export const KEEP_PLACES = `
  local function keep_places(prefix, text)
    for _, hold in ipairs(cjson.decode(text)) do
      if hold[1] == 'place' then
        local key, at = prefix .. ':limit:' .. hold[2], redis.call('TIME')
        redis.call('ZADD', key, at[1] * 1000 + hold[6], hold[3])
        redis.call('PEXPIREAT', key, redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
      end
    end
  end
`;

/* No KEYS: counters are named by the holds. */
const RELEASE = defineScript(`${RETURN_HOLDS}
  for at = 2, #ARGV do return_holds(ARGV[1], ARGV[at], {}, nil) end
`);

/** Gives back everything: what was reserved is not used after all. */
export async function releaseHolds(redis: Redis, holds: readonly Hold[]): Promise<void> {
  if (holds.length === 0) return;
  await RELEASE.run(redis, [], [PREFIX, JSON.stringify(holds.map(encode))]);
}
