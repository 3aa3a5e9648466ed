/** Redis as what everything is entrusted to: its version, who we are to it, what we may do there, and how we get there. */
import type { Redis } from 'ioredis';
import { parseRedisUrl, type RedisPlace } from '../../../shared/config/redis-url.ts';
import { type Finding, fault, ok, warning } from '../finding.ts';
import { versionFindings } from './engine-findings.ts';

/** Asked for, never done: the first needs no right of its own to be refused. */
const FORBIDDEN = [
  ['CONFIG', 'GET', 'dir'],
  ['KEYS', 'cofferdam-doctor-nothing'],
  ['ACL', 'LIST'],
] as const;

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '::1']);

export async function redisSecurityFindings(redis: Redis, url: string): Promise<Finding[]> {
  const version = (await redis.info('server')).match(/^redis_version:(.*)$/m)?.[1]?.trim() ?? '';
  return [
    ...versionFindings('redis', version),
    wayFinding(url),
    await userFinding(redis),
    await rightsFinding(redis),
  ];
}

const hostsOf = (place: RedisPlace): readonly string[] => {
  switch (place.kind) {
    case 'single':
      return [place.node.host];
    case 'sentinel':
      return place.sentinels.map(({ host }) => host);
    case 'cluster':
      return place.nodes.map(({ host }) => host);
    default:
      return place satisfies never;
  }
};

/** How what is said to Redis gets there. */
export function wayFinding(url: string): Finding {
  const place = parseRedisUrl(url);
  if (place.isTls) return ok('redis way', 'TLS');
  const away = hostsOf(place).filter((host) => !LOOPBACK.has(host));
  return away.length === 0
    ? ok('redis way', 'the loopback')
    : warning(
        'redis way',
        `not encrypted to ${away.join(', ')}`,
        'rediss://, or a network of its own; see docs/hardening.md',
      );
}

async function userFinding(redis: Redis): Promise<Finding> {
  const name = await redis.call('ACL', 'WHOAMI').catch(() => undefined);
  if (typeof name !== 'string') return ok('redis user', 'one that may not ask for its name');
  return name === 'default'
    ? warning(
        'redis user',
        'default',
        'users of their own for API and worker: deploy/redis/users.acl',
      )
    : ok('redis user', name);
}

async function rightsFinding(redis: Redis): Promise<Finding> {
  const allowed: string[] = [];
  for (const [command, ...args] of FORBIDDEN) {
    await redis.call(command, ...args).then(
      () => allowed.push(command),
      () => {},
    );
  }
  return allowed.length === 0
    ? ok('redis rights', 'no command of administration')
    : fault(
        'redis rights',
        `may run ${allowed.join(', ')}: whoever gets hold of a process of ours has all of Redis`,
        'users of their own for API and worker: deploy/redis/users.acl',
      );
}
