/** A real redis-server for one test file: on a socket in a folder of its own, ended by its process id. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Redis } from 'ioredis';
import { createLog } from '../../../shared/log.ts';
import {
  type ConnectionKind,
  connectRedis,
  waitUntilReady,
} from '../../../shared/queue/connection.ts';

const START_WITHIN_MS = 10_000;
const STOP_WITHIN_MS = 5_000;
/** Options whose value is more than one argument. */
const SEVERAL_VALUES = new Set(['rename-command', 'replicaof']);

export const silent = createLog('silent');

export interface TestRedis {
  readonly socket: string;
  /** A patient connection. */
  readonly redis: Redis;
  connect(kind?: ConnectionKind): Promise<Redis>;
  /** Ends the server and leaves its folder and the connections: as a crash would. */
  kill(): Promise<void>;
  /** Starts it again on the same socket. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startRedis(
  options: Readonly<Record<string, string>> = {},
): Promise<TestRedis> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-redis-'));
  const socket = path.join(folder, 'redis.sock');
  const all = { port: '0', unixsocket: socket, dir: folder, save: '', ...options };
  const args = Object.entries(all).flatMap(([name, value]) => [
    `--${name}`,
    ...(SEVERAL_VALUES.has(name) ? value.split(' ') : [value]),
  ]);
  const launch = (): ChildProcess => spawn('redis-server', args, { stdio: 'ignore' });
  let child = launch();
  const connections: Redis[] = [];

  const connect = async (kind: ConnectionKind = 'patient'): Promise<Redis> => {
    const redis = connectRedis({ socket }, kind, silent);
    connections.push(redis);
    await waitUntilReady(redis, START_WITHIN_MS);
    return redis;
  };
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const overdue = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
    await gone;
    clearTimeout(overdue);
  };
  return {
    socket,
    redis: await connect(),
    connect,
    kill,
    async restart() {
      await kill();
      child = launch();
    },
    async stop() {
      for (const redis of connections) redis.disconnect();
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A server for the time of one use. */
export async function withRedis<T>(
  options: Record<string, string>,
  use: (server: TestRedis) => Promise<T>,
): Promise<T> {
  const server = await startRedis(options);
  try {
    return await use(server);
  } finally {
    await server.stop();
  }
}

/** Looks until a condition holds; fails after a bounded time. */
export async function eventually(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  withinMs = 10_000,
): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
