/** What a Redis must be before anything is entrusted to it. */
import type { Redis } from 'ioredis';
import { besideOurKeys, waitUntilReady } from './connection.ts';

const ANSWER_WITHIN_MS = 10_000;
const LEAST_VERSION = [6, 2] as const;

export interface RedisCheck {
  readonly version: string;
  /** `strict` when every write is on disk before it is answered. */
  readonly durability: 'strict' | 'relaxed';
  /** Why it takes no writes now, with the mend. */
  readonly refusal: string | undefined;
  /** What makes this Redis unusable, each with its mend. */
  readonly faults: readonly string[];
}

const field = (info: string, name: string): string =>
  info.match(new RegExp(`^${name}:(.*)$`, 'm'))?.[1]?.trim() ?? '';

/** Looks at a Redis before anything is entrusted to it. */
export async function checkRedis(redis: Redis): Promise<RedisCheck> {
  const info = String(await besideOurKeys(redis, (behind) => behind.info()));
  const version = field(info, 'redis_version');
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const faults: string[] = [];
  if (major < LEAST_VERSION[0] || (major === LEAST_VERSION[0] && minor < LEAST_VERSION[1])) {
    faults.push(`version: expected ${LEAST_VERSION.join('.')} or newer; came ${version}`);
  }
  const policy = field(info, 'maxmemory_policy');
  if (policy !== 'noeviction') {
    faults.push(
      `maxmemory-policy: expected noeviction, for anything else may drop accepted jobs; came ${policy}. Mend: CONFIG SET maxmemory-policy noeviction`,
    );
  }
  if (field(info, 'aof_enabled') !== '1') {
    faults.push(
      'appendonly: expected yes, for without it a restart loses accepted jobs; came no. Mend: CONFIG SET appendonly yes',
    );
  }
  return { version, durability: await durabilityOf(redis), refusal: refusalIn(info), faults };
}

function refusalIn(info: string): string | undefined {
  if (field(info, 'role') !== 'master') {
    return 'role: expected a primary; came a replica. Mend: name the primary, or the Sentinels that know it (redis+sentinel://…)';
  }
  if (field(info, 'aof_last_write_status') === 'err') {
    return 'its disk takes no more writes. Mend: make room on it';
  }
  return undefined;
}

/** A Redis whose CONFIG is closed to us may be strict or not: say the lesser. */
async function durabilityOf(redis: Redis): Promise<RedisCheck['durability']> {
  try {
    const asked = besideOurKeys(redis, (behind) => behind.config('GET', 'appendfsync'));
    const [, value] = (await asked) as string[];
    return value === 'always' ? 'strict' : 'relaxed';
  } catch {
    return 'relaxed';
  }
}

/** Waits for a Redis and looks at it; throws an Error that lists everything that makes it unusable. */
export async function requireUsableRedis(redis: Redis): Promise<RedisCheck> {
  await waitUntilReady(redis, ANSWER_WITHIN_MS);
  const check = await checkRedis(redis);
  const faults = [...check.faults, ...(check.refusal === undefined ? [] : [check.refusal])];
  if (faults.length > 0) {
    throw new Error(`This Redis cannot be used:\n  ${faults.join('\n  ')}`);
  }
  return check;
}
