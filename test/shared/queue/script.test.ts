import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defineScript } from '../../../shared/queue/script.ts';
import { admitted, begun, settle } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

describe('a script', () => {
  it('gets its keys and arguments in order, and answers what it returns', async () => {
    const script = defineScript('return {KEYS[1], KEYS[2], ARGV[1], ARGV[2]}');
    expect(await script.run(server.redis, ['a', 'b'], ['1', 2])).toEqual(['a', 'b', '1', '2']);
  });

  it('is sent by its digest once Redis knows it', async () => {
    const script = defineScript("return redis.call('INCR', KEYS[1])");
    await script.run(server.redis, ['n'], []);
    const before = await server.redis.info('commandstats');
    expect(await script.run(server.redis, ['n'], [])).toBe(2);
    const after = await server.redis.info('commandstats');
    const evals = (info: string) => info.match(/cmdstat_eval:calls=(\d+)/)?.[1];
    expect(evals(after)).toBe(evals(before));
  });

  it('passes its own errors on', async () => {
    const script = defineScript("return redis.error_reply('MINE no')");
    await expect(script.run(server.redis, [], [])).rejects.toThrow('MINE no');
  });

  it('survives SCRIPT FLUSH between every step of a job', async () => {
    const { redis } = server;
    await redis.script('FLUSH');
    const id = await admitted(redis);
    await redis.script('FLUSH');
    const start = await begun(redis, id);
    await redis.script('FLUSH');
    expect(await settle(redis, id, start)).toBe('settled');
  });

  it('runs once when many callers meet a Redis that does not know it', async () => {
    const script = defineScript("return redis.call('INCRBY', KEYS[1], 1)");
    await server.redis.script('FLUSH');
    await Promise.all(Array.from({ length: 20 }, () => script.run(server.redis, ['m'], [])));
    expect(await server.redis.get('m')).toBe('20');
  });
});
