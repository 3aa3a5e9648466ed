import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createEventStreams, type EventStreams, type ServerEvent } from '../../services/api/sse.ts';
import { eventually } from '../shared/queue/redis.ts';

let server: FastifyInstance | undefined;
afterEach(async () => {
  vi.useRealTimers();
  await server?.close();
  server = undefined;
});

type Source = (signal: AbortSignal) => AsyncIterable<ServerEvent>;

async function serve(
  source: Source,
): Promise<{ streams: EventStreams; port: number; url: string }> {
  const streams = createEventStreams();
  server = Fastify({ forceCloseConnections: 'idle' });
  server.get('/', (_request, reply) => streams.send(reply, source));
  await server.listen({ port: 0, host: '127.0.0.1' });
  const { port } = server.server.address() as net.AddressInfo;
  return { streams, port, url: `http://127.0.0.1:${port}/` };
}

const event = (data: string): ServerEvent => ({ event: 'output', id: '1.0.0.0', data });
async function* some(...data: string[]): AsyncGenerator<ServerEvent> {
  for (const one of data) yield event(one);
}
/** Nothing, until the signal says that nobody listens. */
async function* nothing(signal: AbortSignal): AsyncGenerator<ServerEvent> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

describe('a stream of events', () => {
  it('has the form that the standard asks for, whatever its data', async () => {
    const { url } = await serve(() => some('one', 'two\nlines', 'é🙂'));
    const response = await fetch(url);
    expect(await response.text()).toBe(
      [
        'retry: 1000\n\n',
        'event: output\nid: 1.0.0.0\ndata: one\n\n',
        'event: output\nid: 1.0.0.0\ndata: two\ndata: lines\n\n',
        'event: output\nid: 1.0.0.0\ndata: é🙂\n\n',
      ].join(''),
    );
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': expect.stringContaining('no-store'),
      'x-accel-buffering': 'no',
    });
  });

  it('is heard at once, before there is any event', async () => {
    const { url } = await serve(nothing);
    const leaving = new AbortController();
    const response = await fetch(url, { signal: leaving.signal });
    const { value } = (await response.body?.getReader().read()) ?? {};
    expect(Buffer.from(value ?? []).toString()).toBe('retry: 1000\n\n');
    leaving.abort();
  });

  it('says every 15 seconds that it is there', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { port } = await serve(nothing);
    const socket = net.connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString();
    });
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const until = async (what: string, isSo: () => boolean): Promise<void> => {
      for (let looks = 0; !isSo(); looks++) {
        if (looks > 500) throw new Error(`never: ${what}`);
        await new Promise((resolve) => setImmediate(resolve));
        await new Promise((resolve) => process.nextTick(resolve));
      }
    };
    const heartbeats = (): number => text.split('\n').filter((line) => line.startsWith(':')).length;
    await until('the start', () => text.includes('retry'));
    for (let count = 1; count <= 3; count++) {
      await vi.advanceTimersByTimeAsync(14_000);
      expect(heartbeats()).toBe(count - 1);
      await vi.advanceTimersByTimeAsync(1_000);
      await until('a heartbeat', () => heartbeats() === count);
    }
    socket.destroy();
  });

  it('is pulled: a client that stops reading stops its source', async () => {
    let made = 0;
    const { port, streams } = await serve(async function* () {
      for (;;) {
        made++;
        yield event('x'.repeat(60_000));
      }
    });
    const socket = net.connect(port, '127.0.0.1');
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    let before = -1;
    await eventually('a standstill', async () => {
      const isStill = made > 0 && made === before;
      before = made;
      await sleep(200);
      return isStill;
    });
    // What the kernel holds of a connection, and no more.
    expect(made).toBeLessThan(400);
    expect(streams.count()).toBe(1);
    socket.destroy();
    await eventually('its end', () => streams.count() === 0);
  });

  it('ends its source at once when the client goes', async () => {
    let isOver = false;
    const { url, streams } = await serve(async function* (signal) {
      yield event('first');
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      isOver = true;
    });
    const leaving = new AbortController();
    const response = await fetch(url, { signal: leaving.signal });
    await response.body?.getReader().read();
    expect(streams.count()).toBe(1);
    leaving.abort();
    await eventually('the end of the source', () => isOver);
    expect(streams.count()).toBe(0);
  });

  it('ends when the server stops, and holds nothing up', async () => {
    const { url, streams } = await serve(nothing);
    const response = await fetch(url);
    streams.release();
    expect(await response.text()).toBe('retry: 1000\n\n');
    // One that was asked for a moment before ends as well.
    expect(await (await fetch(url)).text()).toBe('retry: 1000\n\n');
    await server?.close();
  });

  it('ends when its source fails, and nothing else does', async () => {
    const { url, streams } = await serve(async function* () {
      yield event('first');
      throw new Error('a defect');
    });
    const text = await fetch(url).then((response) => response.text().catch(() => 'broken off'));
    expect(text).not.toContain('defect');
    await eventually('its end', () => streams.count() === 0);
    expect((await fetch(url)).status).toBe(200);
  });
});
