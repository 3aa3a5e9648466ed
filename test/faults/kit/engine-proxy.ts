/**
 * Between a worker and its engine: chosen calls are answered with a failure, with half an answer, or never. All others,
 * and the streams to sandboxes, go through untouched.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const ENGINE_SOCKET = '/var/run/docker.sock';

export type Trouble = 'fails' | 'hangs' | 'is cut short';

export interface EngineProxy {
  /** For COFFERDAM_ENGINE. */
  readonly address: string;
  /** From now on calls that match (`DELETE /containers/…`) end so, whatever they ended like before. */
  trouble(calls: RegExp, how: Trouble): void;
  /** Done before a call goes on; the rest of its address tells which container it is about. */
  before(calls: RegExp, act: (address: string) => Promise<void>): void;
  mend(): void;
  /** How many calls have matched so far. */
  count(calls: RegExp): number;
  stop(): Promise<void>;
}

export async function startEngineProxy(engineSocket = ENGINE_SOCKET): Promise<EngineProxy> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-engine-proxy-'));
  const socketPath = path.join(folder, 'engine.sock');
  const seen: string[] = [];
  let troubles: { calls: RegExp; how: Trouble }[] = [];
  let acts: { calls: RegExp; act: (address: string) => Promise<void> }[] = [];

  const callOf = ({ method, url }: http.IncomingMessage): string => `${method} ${url}`;
  /** How the call is to end; undefined where it goes on. */
  const arrived = async (request: http.IncomingMessage): Promise<Trouble | undefined> => {
    const call = callOf(request);
    seen.push(call);
    for (const { act } of acts.filter(({ calls }) => calls.test(call))) await act(call);
    return troubles.findLast(({ calls }) => calls.test(call))?.how;
  };

  const server = http.createServer(async (request, response) => {
    const how = await arrived(request);
    if (how === 'hangs') return;
    if (how === 'fails') {
      response.writeHead(500, { 'Content-Type': 'application/json' });
      return void response.end('{"message":"made to fail"}');
    }
    const { method, url, headers } = request;
    const onward = http.request({
      socketPath: engineSocket,
      method,
      path: url,
      headers,
      agent: false,
    });
    onward.once('response', (answer) => {
      if (how === 'is cut short') {
        // The engine has done it, and nobody hears of it.
        answer.resume();
        response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '100' });
        response.write('{"Id":"');
        return void setImmediate(() => response.destroy());
      }
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    onward.once('error', () => response.destroy());
    response.once('close', () => onward.destroy());
    request.pipe(onward);
  });
  server.on('upgrade', async (request, client: net.Socket, head) => {
    client.on('error', () => {});
    const how = await arrived(request);
    if (how === 'hangs') return;
    if (how !== undefined) return void client.destroy();
    const engine = net.connect({ path: engineSocket, allowHalfOpen: true });
    engine.once('error', () => client.destroy());
    client.once('close', () => engine.destroy());
    const lines = [`${callOf(request)} HTTP/1.1`];
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
    }
    engine.write(`${lines.join('\r\n')}\r\n\r\n`);
    engine.write(head);
    client.pipe(engine);
    engine.pipe(client);
  });
  server.on('connection', (socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));

  return {
    address: `unix://${socketPath}`,
    trouble: (calls, how) => void troubles.push({ calls, how }),
    before: (calls, act) => void acts.push({ calls, act }),
    mend() {
      troubles = [];
      acts = [];
    },
    count: (calls) => seen.filter((call) => calls.test(call)).length,
    async stop() {
      server.closeAllConnections();
      server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
