import { describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../../shared/config/redis-url.ts';

const OPEN = { isTls: false, credentials: {} };

describe('the address of a Redis', () => {
  it.each([
    ['redis://a', { ...OPEN, kind: 'single', node: { host: 'a', port: 6379 }, db: 0 }],
    ['REDIS://a:1/', { ...OPEN, kind: 'single', node: { host: 'a', port: 1 }, db: 0 }],
    ['redis://[::1]:7/15', { ...OPEN, kind: 'single', node: { host: '::1', port: 7 }, db: 15 }],
    [
      'rediss://us%40er:p%3A%2F%3Fw@a.b:6380',
      {
        isTls: true,
        credentials: { username: 'us@er', password: 'p:/?w' },
        kind: 'single',
        node: { host: 'a.b', port: 6380 },
        db: 0,
      },
    ],
    [
      'redis://:pw@a',
      {
        ...OPEN,
        credentials: { password: 'pw' },
        kind: 'single',
        node: { host: 'a', port: 6379 },
        db: 0,
      },
    ],
  ])('of one server: %s', (text, place) => {
    expect(parseRedisUrl(text)).toEqual(place);
  });

  it('under Sentinel names them and the primary, with the login of both', () => {
    expect(
      parseRedisUrl(
        'redis+sentinel://u:p@a,b:1,[::1]:2/my-primary/3?sentinel_username=s&sentinel_password=t%26',
      ),
    ).toEqual({
      isTls: false,
      credentials: { username: 'u', password: 'p' },
      kind: 'sentinel',
      sentinels: [
        { host: 'a', port: 26_379 },
        { host: 'b', port: 1 },
        { host: '::1', port: 2 },
      ],
      name: 'my-primary',
      db: 3,
      sentinelCredentials: { username: 's', password: 't&' },
    });
  });

  it('of a Cluster names some of its members', () => {
    expect(parseRedisUrl('rediss+cluster://:p@a,b:1/')).toEqual({
      isTls: true,
      credentials: { password: 'p' },
      kind: 'cluster',
      nodes: [
        { host: 'a', port: 6379 },
        { host: 'b', port: 1 },
      ],
    });
  });

  it.each([
    ['localhost:6379', 'expected redis://host:port'],
    ['http://a', 'expected redis://host:port'],
    ['redis+other://a', 'expected redis://host:port'],
    ['redis://', 'expected redis://host:port'],
    ['redis://a,b', 'expected redis://host:port'],
    ['redis://a/0/1', 'expected redis://host:port'],
    ['redis://a:0', 'expected hosts'],
    ['redis://a:65536', 'expected hosts'],
    ['redis://::1', 'expected hosts'],
    ['redis+cluster://a,,b', 'expected hosts'],
    ['redis://a/x', 'expected the number of a database'],
    ['redis://a?family=6', 'expected no parameters'],
    ['redis+cluster://a?b=c', 'expected no parameters'],
    ['redis+cluster://a/1', 'expected no database'],
    ['redis+sentinel://a', 'expected the name of the primary'],
    ['redis+sentinel://a/', 'expected the name of the primary'],
    ['redis+sentinel://a/n/0/1', 'expected the name of the primary'],
    ['redis+sentinel://a/n/x', 'expected the number of a database'],
    ['redis+sentinel://a/n?password=x', 'expected no parameters but'],
    ['redis://%zz:b@a', 'expected %-escapes'],
  ])('is refused where it is none: %s', (text, message) => {
    expect(() => parseRedisUrl(text)).toThrow(message);
  });

  it('is not shown when it is refused, for it may hold a password', () => {
    for (const text of [
      'http://u:s3cret@a',
      'redis://u:s3cret@a:x',
      'redis+sentinel://:s3cret@a',
    ]) {
      expect(() => parseRedisUrl(text)).not.toThrow('s3cret');
      expect(() => parseRedisUrl(text)).toThrow('expected');
    }
  });
});
