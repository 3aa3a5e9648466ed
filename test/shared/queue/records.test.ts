import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fieldsOf, readRecord, readRecords, recordOf } from '../../../shared/queue/job-record.ts';
import { channels, keys, PREFIX } from '../../../shared/queue/keys.ts';
import { HEARTBEAT_TTL_MS } from '../../../shared/queue/options.ts';
import { livingWorkers, readWorkers } from '../../../shared/queue/workers.ts';
import { admitted, newId } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

describe('a record', () => {
  it('is undefined where there is none', async () => {
    expect(await readRecord(server.redis, newId())).toBeUndefined();
  });

  it('is read among many in the order of the ids, with gaps', async () => {
    const [a, b] = [await admitted(server.redis), await admitted(server.redis, { image: 'node' })];
    const records = await readRecords(server.redis, [b, newId(), a]);
    expect(records.map((record) => record?.image)).toEqual(['node', undefined, 'base']);
    expect(await readRecords(server.redis, [])).toEqual([]);
  });

  it('that is not one of ours is refused, not half read', () => {
    expect(() => recordOf({ tenant: 'a', state: 'nonsense' })).toThrow();
    expect(() => recordOf({})).toThrow();
  });

  it('comes out of a script as names and values in turn', () => {
    expect(fieldsOf(['a', '1', 'b', ''])).toEqual({ a: '1', b: '' });
    expect(fieldsOf([])).toEqual({});
  });
});

describe('keys and channels', () => {
  it('all share one hash tag, so that one script may touch several', () => {
    const all = [
      ...Object.values(keys).map((key) => (key as (...parts: string[]) => string)('a', 'b')),
      ...Object.values(channels).map((name) => (name as (part: string) => string)('a')),
    ];
    for (const key of all) expect(key.startsWith(`${PREFIX}:`)).toBe(true);
    expect(PREFIX).toMatch(/^\{[a-z]+\}$/);
    expect(new Set(all).size).toBe(all.length);
  });
});

describe('the workers that live', () => {
  const account = (id: string) => ({
    id,
    host: 'h',
    slots: 2,
    running: 0,
    ready: 1,
    creating: 0,
    engineFailing: false,
    runtimes: ['runc'],
    isSilent: false,
    quarantined: 0,
    images: { base: { digest: 'sha256:1' }, bad: { fault: 'no' } },
  });
  const speak = async (id: string, atMs = Date.now(), text = JSON.stringify(account(id))) => {
    await server.redis.set(keys.worker(id), text, 'PX', HEARTBEAT_TTL_MS);
    await server.redis.zadd(keys.workers(), atMs, id);
  };

  it('are those whose account is there and who spoke not long ago', async () => {
    await speak('w1');
    await speak('silent', Date.now() - 2 * HEARTBEAT_TTL_MS);
    await server.redis.zadd(keys.workers(), Date.now(), 'without-account');
    expect(await readWorkers(server.redis)).toEqual([account('w1')]);
  });

  it('leave out an account that cannot be understood, without failing the others', async () => {
    await speak('w2');
    await speak('w3', Date.now(), '{"id":"w3"}');
    expect((await readWorkers(server.redis)).map(({ id }) => id)).toContain('w2');
    expect((await readWorkers(server.redis)).map(({ id }) => id)).not.toContain('w3');
  });

  it('leave out an account that is not even JSON', async () => {
    await speak('w4', Date.now(), 'not json');
    try {
      expect((await readWorkers(server.redis)).map(({ id }) => id)).not.toContain('w4');
    } finally {
      await server.redis.zrem(keys.workers(), 'w4');
    }
  });

  it('are told apart from the dead by name', async () => {
    await speak('w5');
    expect(await livingWorkers(server.redis, ['dead', 'w5'])).toEqual(new Set(['w5']));
    expect(await livingWorkers(server.redis, [])).toEqual(new Set());
  });
});
