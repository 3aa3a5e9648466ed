/** Bodies that never come whole: they are given up in time, and the server outlives each of them. */
import net from 'node:net';
import { expect, inject, test } from 'vitest';

const server = inject('server');
/** Longer than the server waits for a body. */
const BODY_WITHIN_MS = 35_000;

/** Sends a head that promises more than comes; everything that is answered until the time is over. */
function promiseMore(head: readonly string[]): Promise<string> {
  const { hostname, port } = new URL(server.url);
  return new Promise((resolve) => {
    const socket = net.connect(Number(port), hostname);
    let text = '';
    const done = (): void => {
      socket.destroy();
      resolve(text);
    };
    const timer = setTimeout(done, BODY_WITHIN_MS);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(timer);
      done();
    });
    const fields = ['Host: x', 'Content-Type: application/json', 'Content-Length: 1000', ...head];
    socket.write(`POST /v1/jobs HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n{"command"`);
  });
}

test('a body that stops coming is answered with 408, and one that nobody reads harms nobody', async () => {
  const [read, unread] = await Promise.all([
    promiseMore([`Authorization: Bearer ${server.key}`]),
    promiseMore([]),
  ]);
  expect(read).toContain('REQUEST_TIMEOUT');
  expect(unread).toContain('UNAUTHENTICATED');
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});
