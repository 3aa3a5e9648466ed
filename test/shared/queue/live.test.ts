import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { channels, keys } from '../../../shared/queue/keys.ts';
import { appendLive, dropLive, followJob, readLive } from '../../../shared/queue/live.ts';
import { admitted, begin, begun, settle } from './job.ts';
import { eventually, startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const piece = (offset: number, bytes: Buffer | string = 'x') =>
  ({ step: 0, stream: 'stdout', offset, bytes: Buffer.from(bytes) }) as const;
const append = (id: string, start: number, ...pieces: ReturnType<typeof piece>[]) =>
  appendLive(server.redis, { id, start, keepMs: 60_000, pieces });

describe('following a job', () => {
  it('marks it for whoever begins it, and tells every worker', async () => {
    const id = await admitted(server.redis);
    const heard: string[] = [];
    const listener = await server.connect();
    listener.on('message', (_channel, message: string) => heard.push(message));
    await listener.subscribe(channels.follows());
    await followJob(server.redis, id);
    await eventually('the message', () => heard.includes(id));
    const reply = await begin(server.redis, id);
    expect(reply.kind === 'started' && reply.record.followed).toBe('1');
  });

  it('leaves no mark on a job that is done, nor on one that is not there', async () => {
    const id = await admitted(server.redis);
    await settle(server.redis, id, await begun(server.redis, id));
    await followJob(server.redis, id);
    await followJob(server.redis, 'job_none');
    expect(await server.redis.hexists(keys.job(id), 'followed')).toBe(0);
    expect(await server.redis.exists(keys.job('job_none'))).toBe(0);
  });
});

describe('live output', () => {
  it('is read as it was written, byte by byte, a few pieces at a time', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const pieces = Array.from({ length: 10 }, (_, at) => piece(at * 256, every));
    expect(await append(id, start, ...pieces)).toBe(true);
    const read = [];
    for (let index = 0; index < 10; ) {
      const view = await readLive(server.redis, { id, start, index });
      expect(view).toMatchObject({ state: 'running', attempt: 1, start });
      expect(view?.pieces.length).toBeGreaterThan(0);
      expect(view?.pieces.length).toBeLessThan(10);
      read.push(...(view?.pieces ?? []));
      index = read.length;
    }
    expect(read).toEqual(pieces);
  });

  it('is refused from a start that is over: a newer one, a job that is queued or done', async () => {
    const id = await admitted(server.redis);
    const first = await begun(server.redis, id);
    const second = await begun(server.redis, id, 'w2');
    expect(await append(id, first, piece(0))).toBe(false);
    expect(await append(id, second, piece(0))).toBe(true);
    await settle(server.redis, id, second);
    expect(await append(id, second, piece(1))).toBe(false);
    expect(await server.redis.exists(keys.live(id, first))).toBe(0);
    expect(await server.redis.llen(keys.live(id, second))).toBe(1);
  });

  it('is of one start alone', async () => {
    const id = await admitted(server.redis);
    const first = await begun(server.redis, id);
    await append(id, first, piece(0, 'first'));
    const second = await begun(server.redis, id, 'w2');
    await append(id, second, piece(0, 'second'));
    const view = await readLive(server.redis, { id, start: second, index: 0 });
    expect(view).toMatchObject({ attempt: 2, start: second });
    expect(view?.pieces.map(({ bytes }) => bytes.toString())).toEqual(['second']);
  });

  it('goes by itself should its worker die, and at once when it is dropped', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    await append(id, start, piece(0));
    const ttl = await server.redis.pttl(keys.live(id, start));
    expect(ttl).toBeGreaterThan(0);
    expect(ttl).toBeLessThanOrEqual(60_000);
    await dropLive(server.redis, { id, start });
    expect(await server.redis.exists(keys.live(id, start))).toBe(0);
  });

  it('has nothing of a job that is not there', async () => {
    expect(await readLive(server.redis, { id: 'job_none', start: 1, index: 0 })).toBeUndefined();
  });

  it('is not believed when it cannot be read', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    await server.redis.rpush(keys.live(id, start), 'no head at all');
    await expect(readLive(server.redis, { id, start, index: 0 })).rejects.toThrow(/cannot be read/);
  });
});
