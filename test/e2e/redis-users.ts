/** A Redis with the users of deploy/redis/users.acl, each with a password made for the occasion. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { packageRoot } from '../../shared/images.ts';
import { KEEPS_EVERYTHING, startOperatorsRedis } from '../helpers/redis.ts';

const FILE = path.join(packageRoot, 'deploy/redis/users.acl');
export const USERS = ['api', 'worker', 'health'] as const;
export type User = (typeof USERS)[number];

export async function startRedisWithUsers(...options: string[]) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-users-'));
  const passwords = Object.fromEntries(
    USERS.map((name) => [name, randomBytes(16).toString('hex')]),
  ) as Record<User, string>;
  const digestOf = (name: User): string =>
    createHash('sha256').update(passwords[name]).digest('hex');
  const text = USERS.reduce(
    (rest, name) => rest.replace(`${name.toUpperCase()}_PASSWORD_SHA256`, digestOf(name)),
    readFileSync(FILE, 'utf8'),
  );
  const aclFile = path.join(folder, 'users.acl');
  writeFileSync(aclFile, text);
  const redis = await startOperatorsRedis(...KEEPS_EVERYTHING, '--aclfile', aclFile, ...options);
  return {
    /** Where to reach it as this user. */
    urlOf: (name: User, scheme = 'redis'): string =>
      redis.url.replace('redis://', `${scheme}://${name}:${passwords[name]}@`),
    url: redis.url,
    async stop(): Promise<void> {
      await redis.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
