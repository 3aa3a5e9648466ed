/** The users of deploy/redis/users.acl: what they may not do. That it is enough for what they must do is in test/e2e. */
import { Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import { startRedisWithUsers } from '../e2e/redis-users.ts';

const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

async function startRedis(...options: string[]) {
  const redis = await startRedisWithUsers(...options);
  releases.push(redis.stop);
  return redis;
}

const FORBIDDEN: readonly (readonly [string, ...string[]])[] = [
  ['CONFIG', 'GET', 'dir'],
  ['CONFIG', 'SET', 'maxmemory', '1'],
  ['FLUSHALL'],
  ['FLUSHDB'],
  ['KEYS', '*'],
  ['SCAN', '0'],
  ['RANDOMKEY'],
  ['REPLICAOF', 'NO', 'ONE'],
  ['MODULE', 'LIST'],
  ['DEBUG', 'OBJECT', 'x'],
  ['ACL', 'LIST'],
  ['CLIENT', 'LIST'],
  ['CLIENT', 'KILL', 'TYPE', 'normal'],
  ['SCRIPT', 'FLUSH'],
  ['SCRIPT', 'KILL'],
  ['FUNCTION', 'LIST'],
  ['SHUTDOWN', 'NOSAVE'],
  ['BGSAVE'],
  ['SAVE'],
  ['MONITOR'],
  ['SLOWLOG', 'GET'],
  ['MIGRATE', '127.0.0.1', '1', 'x', '0', '1'],
  ['RESTORE', '{cofferdam}:x', '0', 'x'],
  ['SWAPDB', '0', '1'],
  ['GET', 'somebody-elses'],
  ['SET', 'somebody-elses', '1'],
  ['PUBLISH', 'somebody-elses', '1'],
  ['EVAL', "return redis.call('GET', 'somebody-elses')", '0'],
  ['EVAL', "return redis.call('CONFIG', 'GET', 'dir')", '0'],
];

/** In the words of Redis: to a client, to a script, and of what it lets nobody do. */
const REFUSED = /NOPERM|can't run|can't access|not allowed/;

/** What only the API may write: a worker, beside hostile code, must not make itself keys or rules. */
const NOT_THE_WORKERS: readonly (readonly [string, ...string[]])[] = [
  ['HSET', '{cofferdam}:api-key:x', 'tenant', 'x'],
  ['ZADD', '{cofferdam}:api-keys', '1', 'x'],
  ['HSET', '{cofferdam}:policy', 'document', 'x'],
  ['HSET', '{cofferdam}:tenants:records', 'x', 'x'],
  ['HSET', '{cofferdam}:approval:x', 'state', 'approved'],
  ['SET', '{cofferdam}:remembered:x:y', 'x'],
  ['XADD', '{cofferdam}:audit', '*', 'a', 'b'],
  ['DEL', '{cofferdam}:audit'],
  ['HGETALL', '{cofferdam}:api-key:x'],
  ['GET', '{cofferdam}:idempotency:x:y'],
];

async function refusals(url: string, commands: typeof FORBIDDEN): Promise<string[]> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
  releases.push(() => redis.disconnect());
  redis.on('error', () => {});
  await redis.connect().catch(() => {});
  const allowed: string[] = [];
  for (const [command, ...args] of commands) {
    const answer = await redis.call(command, ...args).catch((error: Error) => error.message);
    const text = String(answer);
    if (!REFUSED.test(text)) {
      allowed.push(`${command} ${args.join(' ')}: ${text.slice(0, 80)}`);
    }
  }
  return allowed;
}

describe('the users of deploy/redis/users.acl', () => {
  test('R02 neither API nor worker runs a command of administration or touches a key of others', async () => {
    const { urlOf } = await startRedis();
    for (const user of ['api', 'worker'] as const) {
      expect(await refusals(urlOf(user), FORBIDDEN), user).toEqual([]);
    }
    expect(await refusals(urlOf('worker'), NOT_THE_WORKERS)).toEqual([]);
    expect(await refusals(urlOf('health'), [['GET', '{cofferdam}:x'], ['INFO']])).toEqual([]);
  });

  test('R01 nobody comes in without a name, or with a wrong password', async () => {
    const { url, urlOf } = await startRedis();
    for (const wrong of [url, urlOf('api').replace(/:[0-9a-f]{32}@/, ':wrong@')]) {
      const redis = new Redis(wrong, { lazyConnect: true, retryStrategy: () => null });
      releases.push(() => redis.disconnect());
      redis.on('error', () => {});
      await redis.connect().catch(() => {});
      await expect(redis.get('{cofferdam}:x')).rejects.toThrow(
        /NOAUTH|WRONGPASS|Connection is closed/,
      );
    }
  });
});
