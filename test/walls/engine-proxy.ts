/**
 * Stands between a worker and its engine and changes the bodies of the sandboxes that it makes: a wall is taken away
 * without a word to the product.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { CreateBody } from '../../services/worker/sandbox/create-body.ts';

const ENGINE = '/var/run/docker.sock';

/** What is left of a body once somebody had a hand in it. */
export type Breach = (body: CreateBody) => void;

export interface EngineProxy {
  /** As COFFERDAM_ENGINE takes it. */
  readonly address: string;
  /** For every sandbox that is made from now on. */
  breach: Breach;
  stop(): Promise<void>;
}

export async function startEngineProxy(): Promise<EngineProxy> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-walls-'));
  const socketPath = path.join(folder, 'engine.sock');
  const server = http.createServer();
  const proxy: EngineProxy = {
    address: `unix://${socketPath}`,
    breach: () => {},
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
  server.on('request', (request, response) => {
    const isCreate = request.method === 'POST' && /\/containers\/create\b/.test(request.url ?? '');
    if (!isCreate) return forward(request, response, request);
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.once('end', () => forward(request, response, changed(chunks, proxy.breach)));
  });
  server.on('upgrade', (request, socket: net.Socket, head) => passThrough(request, socket, head));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return proxy;
}

/** Images are looked at in containers too, which never start: those are left as they are. */
function changed(chunks: readonly Buffer[], breach: Breach): Buffer {
  const body = JSON.parse(Buffer.concat(chunks).toString()) as CreateBody;
  if (body.Labels !== undefined) breach(body);
  return Buffer.from(JSON.stringify(body));
}

function forward(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  body: http.IncomingMessage | Buffer,
): void {
  const { method, url, headers } = request;
  const length = Buffer.isBuffer(body) ? { 'content-length': String(body.length) } : {};
  const onward = http.request(
    { socketPath: ENGINE, method, path: url, headers: { ...headers, ...length } },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    },
  );
  onward.once('error', () => response.destroy());
  response.once('close', () => onward.destroy());
  if (Buffer.isBuffer(body)) onward.end(body);
  else body.pipe(onward);
}

/** An attach: bytes both ways, each end told of the other's. */
function passThrough(request: http.IncomingMessage, socket: net.Socket, head: Buffer): void {
  const engine = net.connect({ path: ENGINE, allowHalfOpen: true }, () => {
    const fields = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`);
    engine.write(`${request.method} ${request.url} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`);
    engine.write(head);
    socket.pipe(engine);
    engine.pipe(socket);
  });
  for (const [one, other] of [
    [socket, engine],
    [engine, socket],
  ] as const) {
    one.once('error', () => other.destroy());
    one.once('close', () => other.destroy());
  }
}
