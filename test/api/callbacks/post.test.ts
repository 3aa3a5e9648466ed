import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { MAX_ANSWER_BYTES, post } from '../../../services/api/callbacks/post.ts';
import { type Receiver, startReceiver } from './receiver.ts';

let receiver: Receiver;
const servers: { close(): unknown }[] = [];

beforeAll(async () => {
  receiver = await startReceiver();
});

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  receiver.answer = (response) => response.writeHead(204).end();
});

afterAll(() => receiver.close());

const send = (url: string, over: { address?: string; withinMs?: number } = {}): Promise<number> =>
  post({
    url: new URL(url),
    address: over.address ?? '127.0.0.1',
    headers: { 'Content-Type': 'application/json', 'webhook-id': 'cb_1' },
    body: '{"a":"ü"}',
    signal: AbortSignal.timeout(over.withinMs ?? 5_000),
  });

/** A server of raw bytes; returns its port. */
async function startRaw(onConnect: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    onConnect(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

describe('a POST', () => {
  it('goes to the given address under the name of the URL, whatever the name leads to', async () => {
    const url = `http://name.that.leads.nowhere.example:${receiver.port}/hook?x=1`;
    expect(await send(url)).toBe(204);
    const [got] = receiver.received.splice(0);
    expect(got).toMatchObject({ path: '/hook?x=1', body: '{"a":"ü"}' });
    expect(got?.headers).toMatchObject({
      host: `name.that.leads.nowhere.example:${receiver.port}`,
      connection: 'close',
      'content-length': '10',
      'webhook-id': 'cb_1',
    });
  });

  it('H28 follows no redirect', async () => {
    const trap = await startReceiver();
    servers.push(trap);
    receiver.answer = (response) => response.writeHead(307, { Location: trap.url }).end();
    expect(await send(receiver.url)).toBe(307);
    expect(trap.received).toEqual([]);
  });

  it('takes no proxy from the environment', async () => {
    const proxy = await startReceiver();
    servers.push(proxy);
    for (const name of ['http_proxy', 'HTTP_PROXY', 'all_proxy']) vi.stubEnv(name, proxy.url);
    vi.stubEnv('NODE_USE_ENV_PROXY', '1');
    expect(await send(receiver.url)).toBe(204);
    vi.unstubAllEnvs();
    expect(proxy.received).toEqual([]);
  });

  it('is given up when no answer comes in time', async () => {
    receiver.answer = () => {};
    await expect(send(receiver.url, { withinMs: 100 })).rejects.toThrow();
  });

  it('H30 is given up when its head never ends, or is larger than any head', async () => {
    const dripping = await startRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const drip = setInterval(() => socket.write('X-A: b\r\n'), 20);
      socket.once('close', () => clearInterval(drip));
    });
    await expect(send(`http://127.0.0.1:${dripping}/`, { withinMs: 200 })).rejects.toThrow();
    const huge = await startRaw((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(64 * 1024)}\r\n\r\n`);
    });
    await expect(send(`http://127.0.0.1:${huge}/`)).rejects.toThrow();
  });

  it('H30 reads so much of an endless answer and cuts it; the status counts', async () => {
    let written = 0;
    const chunk = Buffer.alloc(16 * 1024);
    const closed = new Promise<void>((resolve) => {
      receiver.answer = (response) => {
        response.writeHead(200);
        const more = (): void => {
          while (!response.destroyed && response.write(chunk)) written += chunk.length;
        };
        response.on('drain', more);
        response.once('close', resolve);
        more();
      };
    });
    expect(await send(receiver.url)).toBe(200);
    await closed;
    // What the system's buffers take on top is not read by anybody.
    expect(written).toBeLessThan(MAX_ANSWER_BYTES + 16 * 1024 * 1024);
  });

  it('has its verdict from the status, though the body never ends', async () => {
    receiver.answer = (response) => {
      response.writeHead(202);
      response.write('a');
    };
    expect(await send(receiver.url, { withinMs: 200 })).toBe(202);
  });

  it('fails where nobody listens, and where the connection is cut before a status', async () => {
    const cutting = await startRaw((socket) => socket.destroy());
    await expect(send(`http://127.0.0.1:${cutting}/`)).rejects.toThrow();
    const port = await startRaw(() => {});
    for (const server of servers.splice(0)) server.close();
    await expect(send(`http://127.0.0.1:${port}/`)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});

describe('TLS', () => {
  let folder: string;
  let port: number;
  let certificate: Buffer;
  let server: https.Server;
  const names: string[] = [];
  const heard: string[] = [];

  afterEach(() => {
    names.length = 0;
    heard.length = 0;
  });

  beforeAll(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-tls-'));
    const at = (name: string): string => path.join(folder, name);
    const subject = ['-subj', '/CN=hooks.example', '-addext', 'subjectAltName=DNS:hooks.example'];
    const files = ['-keyout', at('key'), '-out', at('cert')];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    execFileSync('openssl', ['req', '-x509', ...kind, '-days', '2', ...subject, ...files], {
      stdio: 'ignore',
      timeout: 20_000,
    });
    certificate = readFileSync(at('cert'));
    const credentials = { key: readFileSync(at('key')), cert: certificate };
    const SNICallback = (name: string, done: (error: null) => void): void => {
      names.push(name);
      done(null);
    };
    server = https.createServer({ ...credentials, SNICallback }, (request, response) => {
      heard.push((request.headers.host ?? '').replace(/:\d+$/, ''));
      response.end();
    });
    server.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });

  afterAll(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });

  it('is verified, whatever the environment says of certificates', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    try {
      await expect(send(`https://hooks.example:${port}/`)).rejects.toMatchObject({
        code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
      });
    } finally {
      vi.unstubAllEnvs();
    }
    expect(heard).toEqual([]);
  });

  it('asks for the name of the URL and verifies the certificate against it, not against the address', async () => {
    // As NODE_EXTRA_CA_CERTS would, which is read once when a process starts.
    const create = tls.createSecureContext;
    const trusting = vi.spyOn(tls, 'createSecureContext');
    trusting.mockImplementation((options) => create({ ...options, ca: certificate }));
    try {
      expect(await send(`https://hooks.example:${port}/`)).toBe(200);
      expect(names).toEqual(['hooks.example']);
      await expect(send(`https://other.example:${port}/`)).rejects.toMatchObject({
        code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      });
      await expect(send(`https://127.0.0.1:${port}/`)).rejects.toMatchObject({
        code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      });
    } finally {
      trusting.mockRestore();
    }
    expect(heard).toEqual(['hooks.example']);
  });

  it('H30 that never ends is given up', async () => {
    const silent = await startRaw(() => {});
    await expect(send(`https://hooks.example:${silent}/`, { withinMs: 100 })).rejects.toThrow();
  });
});
