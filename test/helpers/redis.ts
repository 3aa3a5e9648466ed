/** A Redis as an operator runs one: a process of its own on a port of the loopback. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const START_WITHIN_MS = 10_000;
const LOOK_MS = 40;

/** Options under which it loses nothing that it has confirmed. */
export const KEEPS_EVERYTHING = [
  '--appendonly',
  'yes',
  '--appendfsync',
  'always',
  '--maxmemory-policy',
  'noeviction',
];

export interface OperatorsRedis {
  readonly url: string;
  stop(): Promise<void>;
}

export async function startOperatorsRedis(...options: string[]): Promise<OperatorsRedis> {
  const port = await freePort();
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-operators-redis-'));
  // With a certificate it speaks TLS and nothing else.
  const isTls = options.includes('--tls-cert-file');
  const where = isTls ? ['--tls-port', String(port), '--port', '0'] : ['--port', String(port)];
  const place = [...where, '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
  const child = spawn('redis-server', [...place, ...options], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  const deadline = Date.now() + START_WITHIN_MS;
  while (!(await listens(port))) {
    if (Date.now() >= deadline) {
      await stop();
      throw new Error(`Redis does not listen on port ${port} within ${START_WITHIN_MS} ms`);
    }
    await sleep(LOOK_MS);
  }
  return { url: `redis://127.0.0.1:${port}`, stop };
}

/** A port that was free a moment ago. */
export const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as net.AddressInfo;
      probe.close(() => resolve(port));
    });
  });

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
