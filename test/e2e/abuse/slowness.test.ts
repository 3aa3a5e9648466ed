/** Clients that say little, slowly, or nothing at all: each holds what one client may hold, and not for long. */
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { callerOf, type ServerProcess, startServer } from '../../helpers/server.ts';
import { watchMemory } from '../process-memory.ts';
import { connectRaw, type RawConnection, statusesOf } from './raw-connection.ts';

const MIB = 1024 * 1024;
/** services/api/http-limits.ts says 10 s, and that it may be noticed 5 s later; the machine may be busy. */
const HEADS_WITHIN_MS = 25_000;
const CONNECTIONS = 10_000;
const AT_ONCE = 250;
const LONG_MS = 120_000;

let server: ServerProcess;
beforeAll(async () => {
  server = await startServer({ COFFERDAM_POOL_READY: '0', COFFERDAM_POOL_MAX_READY: '2' });
});
afterAll(() => server.stop());

const head = (...fields: string[]): string =>
  `POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.key}\r\n${fields.join('')}`;

/** How long the health of the server takes to be told, on a connection of its own; undefined where it was refused. */
function health(): Promise<number | undefined> {
  const began = performance.now();
  return new Promise((resolve) => {
    const request = http.get(`${server.url}/healthz`, { agent: false }, (response) => {
      response.resume();
      response.once('end', () => resolve(performance.now() - began));
    });
    request.once('error', () => resolve(undefined));
  });
}

describe('a head', () => {
  test('H12 that trickles, or never begins, is closed in time with an answer', async () => {
    const [slow, silent] = await Promise.all([connectRaw(server.url), connectRaw(server.url)]);
    slow.socket.write('POST /v1/jobs HTTP/1.1\r\n');
    const trickle = setInterval(() => slow.socket.write('X-Slow: 1\r\n'), 500);
    const ends = await Promise.all([slow.closed(HEADS_WITHIN_MS), silent.closed(HEADS_WITHIN_MS)]);
    clearInterval(trickle);
    expect(ends.map(({ isClosed }) => isClosed)).toEqual([true, true]);
    expect(ends[0]?.text).toContain('REQUEST_TIMEOUT');
    expect(statusesOf(ends[0]?.text ?? '')).toEqual([408]);
  });

  test('H12 of more than it may be is refused, by its size or by the count of its fields', async () => {
    for (const fields of [
      `X-Long: ${'x'.repeat(20_000)}\r\n`,
      Array.from({ length: 3_000 }, (_, at) => `X-${at}: 1\r\n`).join(''),
    ]) {
      const connection = await connectRaw(server.url);
      connection.socket.write(`${head(fields)}\r\n`);
      const { text, isClosed } = await connection.closed(HEADS_WITHIN_MS);
      expect([400, 413, 431]).toContain(statusesOf(text)[0]);
      expect(isClosed).toBe(true);
    }
  });
});

describe('a body', () => {
  test('H06 that is announced too large is refused before it comes, and costs no memory', async () => {
    const memory = watchMemory(server.pid);
    const before = memory.stop();
    const watched = watchMemory(server.pid);
    const connections = await Promise.all(Array.from({ length: 50 }, () => connectRaw(server.url)));
    for (const { socket } of connections) {
      socket.write(head('Content-Type: application/json\r\nContent-Length: 9000000000\r\n\r\n'));
    }
    for (const connection of connections) await answered(connection);
    expect(connections.map((one) => statusesOf(one.text())[0])).toEqual(Array(50).fill(413));
    for (const { socket } of connections) socket.destroy();
    expect(watched.stop() - before).toBeLessThan(64 * MIB);
  });

  test('H06 H13 in chunks without an end is refused once it is too large', async () => {
    const connection = await connectRaw(server.url);
    const { socket } = connection;
    socket.write(head('Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n'));
    const chunk = `40000\r\n${' '.repeat(0x40000)}\r\n`;
    const memory = watchMemory(server.pid);
    for (let sent = 0; sent < 200 && connection.text() === '' && !socket.destroyed; sent++) {
      if (!socket.write(chunk)) await new Promise((done) => setTimeout(done, 5));
    }
    await answered(connection);
    expect(statusesOf(connection.text())[0]).toBe(413);
    socket.destroy();
    expect(memory.stop()).toBeLessThan(600 * MIB);
  });
});

async function answered(connection: RawConnection): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (connection.text() === '' && Date.now() < deadline) await sleep(20);
}

describe('a reader', () => {
  test('H14 that takes nothing of a large result costs no memory for each time it asks', async () => {
    const api = callerOf(server);
    const script = 'head -c 1000000 /dev/zero | tr "\\0" x';
    const { id } = await api.run({ command: ['sh', '-c', script] });
    const memory = watchMemory(server.pid);
    const before = memory.stop();
    const watched = watchMemory(server.pid);
    const connections = await Promise.all(Array.from({ length: 40 }, () => connectRaw(server.url)));
    for (const { socket } of connections) {
      socket.pause();
      socket.write(
        `GET /v1/jobs/${id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.key}\r\n\r\n`.repeat(
          50,
        ),
      );
    }
    await sleep(5_000);
    const grown = watched.stop() - before;
    for (const { socket } of connections) socket.destroy();
    // Two thousand answers of a megabyte were asked for.
    expect(grown).toBeLessThan(500 * MIB);
    expect(await health()).toBeDefined();
  });
});

describe('connections', () => {
  test(
    `H15 ${CONNECTIONS} that say nothing leave health answered or refused at once, and are gone in time`,
    async () => {
      const idle: RawConnection[] = [];
      while (idle.length < CONNECTIONS) {
        const more = Array.from({ length: AT_ONCE }, () => connectRaw(server.url));
        const made = await Promise.allSettled(more);
        for (const one of made) if (one.status === 'fulfilled') idle.push(one.value);
      }
      const times: (number | undefined)[] = [];
      for (let look = 0; look < 20; look++) times.push(await health());
      const answers = times.filter((one) => one !== undefined).sort((a, b) => a - b);
      // A look costs a new connection: half of them within 100 ms, on a machine that also holds the clients.
      if (answers.length > 0) {
        expect(answers[Math.floor(answers.length / 2)]).toBeLessThan(100);
      }
      const deadline = Date.now() + HEADS_WITHIN_MS;
      const areOpen = (): number => idle.filter(({ socket }) => !socket.destroyed).length;
      while (areOpen() > 0 && Date.now() < deadline) await sleep(250);
      expect(areOpen()).toBe(0);
      expect(await health()).toBeDefined();
      expect(await callerOf(server).run({ command: ['echo', 'here'] })).toMatchObject({
        stdout: 'here\n',
      });
    },
    LONG_MS,
  );
});
