import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { redisSecurityFindings } from '../../../services/cli/security/redis-findings.ts';
import { startRedisWithUsers } from '../../e2e/redis-users.ts';
import { startOperatorsRedis } from '../../helpers/redis.ts';

const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

async function findingsAt(url: string) {
  const redis = new Redis(url);
  releases.push(() => redis.disconnect());
  const findings = await redisSecurityFindings(redis, url);
  return Object.fromEntries(findings.map(({ what, state, found }) => [what, `${state} ${found}`]));
}

describe('a Redis', () => {
  it('where we are anybody and may do anything is told so', async () => {
    const { url, stop } = await startOperatorsRedis();
    releases.push(stop);
    expect(await findingsAt(url)).toMatchObject({
      'redis user': 'warning default',
      'redis rights': expect.stringMatching(/^fault may run CONFIG, KEYS, ACL/),
      'redis way': 'ok the loopback',
    });
  });

  it('with users of their own is as it should be', async () => {
    const redis = await startRedisWithUsers();
    releases.push(redis.stop);
    for (const user of ['api', 'worker'] as const) {
      expect(await findingsAt(redis.urlOf(user)), user).toMatchObject({
        'redis user': `ok ${user}`,
        'redis rights': 'ok no command of administration',
      });
    }
  });
});
