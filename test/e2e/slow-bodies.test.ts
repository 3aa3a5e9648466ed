/** Bodies that never come whole: they are given up in time, and the server outlives each of them. */
import net from 'node:net';
import { expect, inject, test } from 'vitest';

const server = inject('server');
/** Longer than the server waits for a body. */
const BODY_WITHIN_MS = 35_000;

/** Sends a head that promises more than trickles in; what is answered until the server cuts it, or the time is over. */
function promiseMore(head: readonly string[]): Promise<{ text: string; isCut: boolean }> {
  const { hostname, port } = new URL(server.url);
  return new Promise((resolve) => {
    const socket = net.connect(Number(port), hostname);
    let text = '';
    const trickle = setInterval(() => socket.write('x'), 1_000);
    const done = (isCut: boolean): void => {
      clearInterval(trickle);
      socket.destroy();
      resolve({ text, isCut });
    };
    const timer = setTimeout(done, BODY_WITHIN_MS, false);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(timer);
      done(true);
    });
    const fields = ['Host: x', 'Content-Type: application/json', 'Content-Length: 1000', ...head];
    socket.write(`POST /v1/jobs HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n{"command"`);
  });
}

test('H13 a body that trickles is answered with 408 in time, and one that nobody reads is cut off', async () => {
  const [read, unread] = await Promise.all([
    promiseMore([`Authorization: Bearer ${server.key}`]),
    promiseMore([]),
  ]);
  expect(read.text).toContain('REQUEST_TIMEOUT');
  expect(unread.text).toContain('UNAUTHENTICATED');
  expect([read.isCut, unread.isCut]).toEqual([true, true]);
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});
