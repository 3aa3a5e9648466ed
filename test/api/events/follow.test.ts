import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jobEvents, requireOwnJob } from '../../../services/api/events/follow.ts';
import type { ServerEvent } from '../../../services/api/sse.ts';
import { eventId } from '../../../shared/contract/event.ts';
import { NO_OUTPUT } from '../../../shared/contract/result.ts';
import { handBackJob } from '../../../shared/queue/begin.ts';
import { channels, keys } from '../../../shared/queue/keys.ts';
import { appendLive } from '../../../shared/queue/live.ts';
import { admitted, begun, newId, settle } from '../../shared/queue/job.ts';
import { eventually, silent, startRedis, type TestRedis } from '../../shared/queue/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

/** Follows in the background; what came so far, in short. */
function follower(id: string, options: { from?: string; redis?: TestRedis['redis'] } = {}) {
  const leaving = new AbortController();
  const seen: ServerEvent[] = [];
  const from = options.from === undefined ? undefined : eventId.parse(options.from);
  const { redis = server.redis } = options;
  const { signal } = leaving;
  const ended = (async () => {
    for await (const event of jobEvents({ redis, id, from, signal, log: silent })) seen.push(event);
  })();
  return {
    seen,
    ended,
    leave: () => leaving.abort(),
    /** `state attempt`, `step stream offset text`, or `result`. */
    brief: () =>
      seen.map(({ event, data }) => {
        const { state, attempt, step, stream, offset, text } = JSON.parse(data);
        if (event === 'state') return `${state} ${attempt}`;
        return event === 'output' ? `${step} ${stream} ${offset} ${text}` : event;
      }),
  };
}

const write = (id: string, start: number, offset: number, text: string) =>
  appendLive(server.redis, {
    id,
    start,
    keepMs: 60_000,
    pieces: [{ step: 0, stream: 'stdout', offset, bytes: Buffer.from(text) }],
  });

const end = (id: string, start: number, stdout: string, attempt = 1) =>
  settle(server.redis, id, start, {
    result: JSON.stringify({
      ...NO_OUTPUT,
      id,
      attempt,
      stdout,
      stdoutBytes: Buffer.byteLength(stdout),
    }),
  });

describe('the events of a job', () => {
  it('are its states, its output as it comes, and its result', async () => {
    const id = await admitted(server.redis);
    const { seen, brief, ended } = follower(id);
    await eventually('queued', () => brief().length === 1);
    const start = await begun(server.redis, id);
    await eventually('running', () => brief().length === 2);
    await write(id, start, 0, 'live ');
    await eventually('output', () => brief().length === 3);
    await end(id, start, 'live and stored');
    await ended;
    expect(brief()).toEqual([
      'queued 0',
      'running 1',
      '0 stdout 0 live ',
      'done 1',
      '0 stdout 5 and stored',
      'result',
    ]);
    expect(seen.map((event) => event.id)).toEqual([
      '0.0.0.0',
      '1.0.0.0',
      '1.0.5.0',
      '1.0.5.0',
      '1.0.15.0',
      '1.0.15.0',
    ]);
    expect(seen.at(-1)?.data).toBe(await server.redis.get(keys.result(id)));
  });

  it('go on behind the last that was received, whether it runs or is done', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    await write(id, start, 0, 'one two');
    const running = follower(id, { from: '1.0.4.0' });
    await eventually('output', () => running.brief().length === 2);
    expect(running.brief()).toEqual(['running 1', '0 stdout 4 two']);
    await end(id, start, 'one two three');
    await running.ended;
    const done = follower(id, { from: '1.0.8.0' });
    await done.ended;
    expect(done.brief()).toEqual(['done 1', '0 stdout 8 three', 'result']);
    const all = follower(id, { from: '1.0.13.0' });
    await all.ended;
    expect(all.brief()).toEqual(['done 1', 'result']);
  });

  it('begin again with a second start, whatever of the first was seen', async () => {
    const id = await admitted(server.redis);
    const first = await begun(server.redis, id);
    const { brief, ended } = follower(id);
    await write(id, first, 0, 'first');
    await eventually('output', () => brief().length === 2);
    await handBackJob(server.redis, { id, start: first, ran: 'yes' });
    await eventually('queued', () => brief().at(-1) === 'queued 1');
    const second = await begun(server.redis, id, 'w2');
    await write(id, first, 5, 'too late');
    await write(id, second, 0, 'second');
    await eventually('its output', () => brief().at(-1) === '0 stdout 0 second');
    await end(id, second, 'second', 2);
    await ended;
    expect(brief()).toEqual([
      'running 1',
      '0 stdout 0 first',
      'queued 1',
      'running 2',
      '0 stdout 0 second',
      'done 2',
      'result',
    ]);
    const late = follower(id, { from: '1.0.3.0' });
    await late.ended;
    expect(late.brief()).toEqual(['done 2', '0 stdout 0 second', 'result']);
  });

  it('are the same for two followers', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    const followers = [follower(id), follower(id)];
    for (let at = 0; at < 20; at++) await write(id, start, at, 'x');
    await end(id, start, 'x'.repeat(20));
    for (const one of followers) {
      await one.ended;
      const text = one.brief().filter((line) => line.startsWith('0 stdout'));
      expect(text.map((line) => line.split(' ')[3]).join('')).toBe('x'.repeat(20));
      expect(one.brief().at(-1)).toBe('result');
    }
  });

  it('leave out nothing when the list is gone or was never written', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    const { brief, ended } = follower(id);
    await write(id, start, 0, 'ab');
    await eventually('output', () => brief().length === 2);
    await server.redis.del(keys.live(id, start));
    await end(id, start, 'abc');
    await ended;
    expect(brief()).toEqual(['running 1', '0 stdout 0 ab', 'done 1', '0 stdout 2 c', 'result']);
  });
});

describe('a follower', () => {
  it('tells the workers again while it hears nothing, and no more once it does', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    let asked = 0;
    const listener = await server.connect();
    listener.on('message', (_channel, message: string) => {
      if (message === id) asked++;
    });
    await listener.subscribe(channels.follows());
    const { leave, ended } = follower(id);
    await eventually('a second message', () => asked >= 2);
    await write(id, start, 0, 'x');
    await sleep(300);
    const before = asked;
    await sleep(1_500);
    expect(asked).toBe(before);
    leave();
    await ended;
  });

  it('that leaves is over at once, and looks no more', async () => {
    const id = await admitted(server.redis);
    await begun(server.redis, id);
    const redis = await server.connect('request');
    const { leave, ended, brief } = follower(id, { redis });
    await eventually('the first event', () => brief().length === 1);
    leave();
    await ended;
    let looks = 0;
    const pipeline = redis.pipeline.bind(redis);
    redis.pipeline = ((...args: never[]) => {
      looks++;
      return pipeline(...args);
    }) as typeof redis.pipeline;
    await sleep(200);
    expect(looks).toBe(0);
  });

  it('that takes nothing makes nobody read ahead for it', async () => {
    const id = await admitted(server.redis);
    const start = await begun(server.redis, id);
    for (let at = 0; at < 50; at++) await write(id, start, at, 'x');
    const leaving = new AbortController();
    const { redis } = server;
    const { signal } = leaving;
    const events = jobEvents({ redis, id, from: undefined, signal, log: silent });
    for (let taken = 0; taken < 3; taken++) await events.next();
    const before = (await redis.info('commandstats')).match(/lrange:calls=(\d+)/)?.[1];
    await sleep(300);
    expect((await redis.info('commandstats')).match(/lrange:calls=(\d+)/)?.[1]).toBe(before);
    leaving.abort();
    await events.return(undefined);
  });

  it('hears the end of the stream, and no result, when the result is gone', async () => {
    const id = await admitted(server.redis);
    await end(id, await begun(server.redis, id), 'x');
    await server.redis.del(keys.result(id));
    const { brief, ended } = follower(id);
    await ended;
    expect(brief()).toEqual([]);
  });

  it('hears the end of the stream when Redis goes away, to come back later', async () => {
    const id = await admitted(server.redis);
    await begun(server.redis, id);
    const redis = await server.connect('request');
    const { brief, ended } = follower(id, { redis });
    await eventually('the first event', () => brief().length === 1);
    redis.disconnect();
    await ended;
    expect(brief()).toEqual(['running 1']);
  });
});

describe('a job', () => {
  it('is not there for anybody but its owner', async () => {
    const id = await admitted(server.redis, { tenant: 'owner' });
    await requireOwnJob(server.redis, { tenant: 'owner' }, id);
    const notFound = expect.objectContaining({ code: 'NOT_FOUND' });
    await expect(requireOwnJob(server.redis, { tenant: 'other' }, id)).rejects.toEqual(notFound);
    await expect(requireOwnJob(server.redis, { tenant: 'owner' }, newId())).rejects.toEqual(
      notFound,
    );
  });
});
