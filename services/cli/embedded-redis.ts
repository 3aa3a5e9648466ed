/**
 * A redis-server of our own: a child on a socket in the data folder, every write on disk before it is answered. One
 * process may serve a data folder at a time; a Redis that outlived a killed one is told to save and leave first.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../shared/log.ts';
import { connectRedis, type RedisAddress, waitUntilReady } from '../../shared/queue/connection.ts';

const START_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 10_000;
const POLL_MS = 20;
/** A socket's address holds at most 107 bytes. */
const MAX_SOCKET_PATH = 100;

export interface EmbeddedRedis {
  readonly address: RedisAddress;
  /** Resolves when the child is gone without having been told to. */
  readonly lost: Promise<void>;
  stop(): Promise<void>;
}

export async function startEmbeddedRedis(dataDir: string, log: Log): Promise<EmbeddedRedis> {
  const folder = path.resolve(dataDir, 'redis');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const releaseLock = takeLock(path.join(dataDir, 'serve.pid'));
  const socket = socketPath(folder);
  try {
    await dismiss(socket, log);
    const child = spawnServer(folder, socket);
    return await supervise(child, { socket, releaseLock, log });
  } catch (error) {
    releaseLock();
    throw error;
  }
}

function socketPath(folder: string): string {
  const beside = path.join(folder, 'redis.sock');
  if (Buffer.byteLength(beside) <= MAX_SOCKET_PATH) return beside;
  const digest = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  const short = path.join(os.tmpdir(), `cofferdam-${digest}`);
  mkdirSync(short, { recursive: true, mode: 0o700 });
  return path.join(short, 'redis.sock');
}

/** A file with our pid; throws when the process in it lives and is another. */
function takeLock(file: string): () => void {
  try {
    const owner = Number(readFileSync(file, 'utf8'));
    if (owner !== process.pid && isServing(owner)) {
      throw new Error(
        `The data folder is in use by process ${owner} (${file}). Stop it, or set COFFERDAM_DATA_DIR.`,
      );
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  writeFileSync(file, String(process.pid), { mode: 0o600 });
  return () => rmSync(file, { force: true });
}

/** Alive, and a Node process: a pid may have been given to somebody else since. */
function isServing(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('node');
  } catch (error) {
    // Without /proc nothing more can be known: a living process is taken for ours.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && process.platform !== 'linux';
  }
}

/**
 * Ends a Redis that a killed process left on our socket; what it holds is on disk. It may still be loading: two on one
 * append-only file would ruin it, so nothing starts before it is gone.
 */
async function dismiss(socket: string, log: Log): Promise<void> {
  if (await isListening(socket)) {
    log.warn('an embedded Redis was left running; it is told to leave');
    const redis = connectRedis({ socket }, 'request', log.child({}, { level: 'silent' }));
    try {
      await waitUntilReady(redis, START_WITHIN_MS);
      await redis.shutdown('SAVE').catch(() => {});
    } finally {
      redis.disconnect();
    }
    const deadline = Date.now() + STOP_WITHIN_MS;
    while (await isListening(socket)) {
      if (Date.now() > deadline) throw new Error(`The Redis at ${socket} does not leave.`);
      await sleep(POLL_MS);
    }
  }
  rmSync(socket, { force: true });
}

const isListening = (socket: string): Promise<boolean> =>
  new Promise((resolve) => {
    const connection = net.connect(socket);
    connection.once('connect', () => resolve(!!connection.destroy()));
    connection.once('error', () => resolve(false));
  });

function spawnServer(folder: string, socket: string): ChildProcess {
  const options = {
    port: '0',
    unixsocket: socket,
    unixsocketperm: '700',
    dir: folder,
    appendonly: 'yes',
    appendfsync: 'always',
    save: '',
    'maxmemory-policy': 'noeviction',
    // A waiting job's record stays one compact piece of memory: a third of what a table of fields takes.
    'hash-max-listpack-value': '4096',
    daemonize: 'no',
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  // Its own process group: a ^C in a terminal must reach us first, and Redis only when we are done with it.
  return spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
}

async function supervise(
  child: ChildProcess,
  { socket, releaseLock, log }: { socket: string; releaseLock: () => void; log: Log },
): Promise<EmbeddedRedis> {
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (bytes: Buffer) => {
      said = (said + bytes.toString()).slice(-2000);
    });
  }
  let isStopping = false;
  // Also where nobody stops it any more: a second signal ends the process at once. What it holds is on disk.
  const endWithProcess = (): unknown => child.kill('SIGTERM');
  process.once('exit', endWithProcess);
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(`it ended with ${signal ?? code}`));
  });
  const redis = connectRedis({ socket }, 'patient', log.child({}, { level: 'silent' }));
  try {
    const ended = await Promise.race([exited, waitUntilReady(redis, START_WITHIN_MS)]);
    if (ended !== undefined) {
      throw new Error(`redis-server did not start: ${ended}. scripts/setup installs it.\n${said}`);
    }
  } catch (error) {
    child.kill('SIGKILL');
    process.off('exit', endWithProcess);
    throw error;
  } finally {
    redis.disconnect();
  }
  const lost = exited.then((how) => {
    if (isStopping) return new Promise<void>(() => {});
    log.error({ how, said }, 'the embedded Redis is gone');
    return undefined;
  });
  return {
    address: { socket },
    lost,
    async stop() {
      isStopping = true;
      child.kill('SIGTERM');
      const late = sleep(STOP_WITHIN_MS).then(() => child.kill('SIGKILL'));
      await Promise.race([exited, late]);
      await exited;
      process.off('exit', endWithProcess);
      releaseLock();
    },
  };
}
