/** Redis as what everything is entrusted to: its version, who we are to it, what we may do there, and how we get there. */
import type { Redis } from 'ioredis';
import { type Finding, fault, ok, warning } from '../finding.ts';
import { versionFindings } from './engine-findings.ts';

/** Asked for, never done: the first needs no right of its own to be refused. */
const FORBIDDEN = [
  ['CONFIG', 'GET', 'dir'],
  ['KEYS', 'cofferdam-doctor-nothing'],
  ['ACL', 'LIST'],
] as const;

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]', '::1']);

export async function redisSecurityFindings(redis: Redis, url: string): Promise<Finding[]> {
  const version = (await redis.info('server')).match(/^redis_version:(.*)$/m)?.[1]?.trim() ?? '';
  return [
    ...versionFindings('redis', version),
    wayFinding(url),
    await userFinding(redis),
    await rightsFinding(redis),
  ];
}

function wayFinding(url: string): Finding {
  const { protocol, hostname } = new URL(url);
  if (protocol === 'rediss:') return ok('redis way', 'TLS');
  return LOOPBACK.has(hostname)
    ? ok('redis way', 'the loopback')
    : warning(
        'redis way',
        `not encrypted to ${hostname}`,
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
