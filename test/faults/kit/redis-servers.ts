/**
 * Real redis-servers that a test may kill, stop, starve and start again: one alone, one with a replica under three
 * Sentinels, a Cluster. Each on its own port of the loopback and its own folder, each write on disk before it is
 * answered; timeouts are short, so that a failover takes seconds.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

const START_WITHIN_MS = 20_000;
const FORMED_WITHIN_MS = 30_000;
const LOOK_MS = 25;
/** After what silence a primary counts as gone. */
const DOWN_AFTER_MS = 1_000;
const SENTINELS = 3;
export const PRIMARY_NAME = 'cofferdam';
const HOST = '127.0.0.1';

export type RedisOptions = Readonly<Record<string, string>>;

const KEEPS_EVERYTHING: RedisOptions = {
  appendonly: 'yes',
  appendfsync: 'always',
  save: '',
  'maxmemory-policy': 'noeviction',
  // As the embedded one has it: a record of a job stays compact.
  'hash-max-listpack-value': '4096',
};

export interface RedisServer {
  readonly port: number;
  readonly url: string;
  readonly folder: string;
  pid(): number;
  isRunning(): boolean;
  /** Ends it as a crash does; its folder stays. */
  kill(): Promise<void>;
  /** Ends it by its own command, with everything saved. */
  shutdown(): Promise<void>;
  /** Starts it on the folder it left, and resolves when it answers. */
  start(): Promise<void>;
  /** Holds the process without ending it, as a host that hangs. */
  freeze(): void;
  thaw(): void;
  /** One command over a connection of its own. */
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  /** Ends it, and removes its folder unless that was given. */
  stop(): Promise<void>;
}

export interface RedisPlace {
  /** A folder that is there already and outlives the server, as a small file system. */
  readonly folder?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A server that loses nothing it has confirmed, unless its options say otherwise. */
export const startRedisServer = (
  options: RedisOptions = {},
  place: RedisPlace = {},
): Promise<RedisServer> => startProcess({ ...KEEPS_EVERYTHING, ...options }, [], place);

async function startProcess(
  options: RedisOptions,
  lines: readonly string[],
  { folder: given, env = {} }: RedisPlace,
): Promise<RedisServer> {
  const folder = given ?? temporaryFolder();
  const port = await freePort();
  const file = path.join(folder, 'redis.conf');
  const all = { port: String(port), bind: HOST, dir: folder, ...options };
  const rows = Object.entries(all).map(([name, value]) => `${name} ${value === '' ? '""' : value}`);
  writeFileSync(file, [...rows, ...lines, ''].join('\n'));
  const isSentinel = lines.length > 0;
  const args = isSentinel ? [file, '--sentinel'] : [file];
  let child: ChildProcess | undefined;

  const isRunning = (): boolean =>
    child !== undefined && child.exitCode === null && child.signalCode === null;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined || !isRunning()) return;
    const gone = new Promise((resolve) => child?.once('exit', resolve));
    child.kill(signal);
    await gone;
  };
  const call: RedisServer['call'] = async (name, ...given) => {
    const redis = new Redis({ port, host: HOST, retryStrategy: () => null, lazyConnect: true });
    redis.on('error', () => {});
    try {
      await redis.connect();
      return await redis.call(name, ...given);
    } finally {
      redis.disconnect();
    }
  };
  const server: RedisServer = {
    port,
    url: `redis://${HOST}:${port}`,
    folder,
    pid: () => child?.pid as number,
    isRunning,
    call,
    kill: () => end('SIGKILL'),
    shutdown: () => end('SIGTERM'),
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    async start() {
      let said = '';
      const started = spawn('redis-server', args, {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...env },
      });
      child = started;
      for (const stream of [started.stdout, started.stderr]) {
        stream?.on('data', (bytes: Buffer) => {
          said = (said + bytes.toString()).slice(-2_000);
        });
      }
      await until(`redis-server on port ${port} answers`, START_WITHIN_MS, async () => {
        if (!isRunning()) throw new Error(`redis-server on port ${port} ended:\n${said}`);
        return (await call('PING').catch(() => undefined)) === 'PONG';
      });
    },
    async stop() {
      await end('SIGKILL');
      if (given === undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

export interface SentinelGroup {
  readonly url: string;
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  /** The one that takes writes now, as the Sentinels say. */
  primary(): Promise<RedisServer>;
  /** Resolves when another than `former` is primary, and says how long that took. */
  failedOver(former: RedisServer): Promise<number>;
  stop(): Promise<void>;
}

/** A primary and its replica, watched by three Sentinels. */
export async function startSentinelGroup(options: RedisOptions = {}): Promise<SentinelGroup> {
  const all: RedisServer[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(all.map((one) => one.stop()));
  };
  try {
    const first = await startRedisServer(options);
    all.push(first);
    const second = await startRedisServer({ ...options, replicaof: `${HOST} ${first.port}` });
    all.push(second);
    await until('the replica follows', FORMED_WITHIN_MS, async () =>
      String(await second.call('INFO', 'replication')).includes('master_link_status:up'),
    );
    const watch = [
      `sentinel monitor ${PRIMARY_NAME} ${HOST} ${first.port} 2`,
      `sentinel down-after-milliseconds ${PRIMARY_NAME} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${PRIMARY_NAME} 5000`,
      `sentinel parallel-syncs ${PRIMARY_NAME} 1`,
    ];
    const sentinels: RedisServer[] = [];
    for (let count = 0; count < SENTINELS; count++) {
      const one = await startProcess({}, watch, {});
      sentinels.push(one);
      all.push(one);
    }
    for (const one of sentinels) await until('Sentinels agree', FORMED_WITHIN_MS, () => knows(one));
    const servers = [first, second];
    const primary = async (): Promise<RedisServer> => {
      const said = await sentinels[0]?.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', PRIMARY_NAME);
      const port = Number((said as string[])[1]);
      return servers.find((one) => one.port === port) ?? first;
    };
    const hosts = sentinels.map(({ port }) => `${HOST}:${port}`).join(',');
    return {
      url: `redis+sentinel://${hosts}/${PRIMARY_NAME}`,
      servers,
      sentinels,
      primary,
      failedOver: (former) =>
        until('another is primary', FORMED_WITHIN_MS, async () => {
          const now = await primary();
          if (now === former) return false;
          const info = await now.call('INFO', 'replication').catch(() => '');
          return String(info).includes('role:master');
        }),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Whether this Sentinel knows the replica and the other Sentinels. */
async function knows(sentinel: RedisServer): Promise<boolean> {
  const said = (await sentinel.call('SENTINEL', 'MASTER', PRIMARY_NAME)) as string[];
  const field = (name: string): string | undefined => said[said.indexOf(name) + 1];
  return field('num-slaves') === '1' && field('num-other-sentinels') === String(SENTINELS - 1);
}

export interface RedisCluster {
  readonly url: string;
  readonly servers: readonly RedisServer[];
  /** The primary that holds a key now, as a live member says. */
  ownerOf(key: string): Promise<RedisServer>;
  /** Resolves when another than `former` holds the key, and says how long that took. */
  failedOver(key: string, former: RedisServer): Promise<number>;
  stop(): Promise<void>;
}

/** Three primaries, each with a replica if so wanted. */
export async function startRedisCluster(
  { withReplicas = false }: { withReplicas?: boolean } = {},
  options: RedisOptions = {},
): Promise<RedisCluster> {
  const servers: RedisServer[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((one) => one.stop()));
  };
  try {
    for (let count = 0; count < (withReplicas ? 6 : 3); count++) {
      servers.push(
        await startRedisServer({
          'cluster-enabled': 'yes',
          'cluster-port': String(await freePort()),
          'cluster-node-timeout': String(DOWN_AFTER_MS),
          'cluster-replica-validity-factor': '0',
          ...options,
        }),
      );
    }
    await form(servers, withReplicas ? 1 : 0);
    const ownerOf = async (key: string): Promise<RedisServer> => {
      for (const asked of servers.filter((one) => one.isRunning())) {
        const owner = await ownerAsSeenBy(asked, key).catch(() => undefined);
        const found = servers.find(({ port }) => port === owner);
        if (found !== undefined) return found;
      }
      throw new Error(`nobody in the cluster says who holds ${key}`);
    };
    return {
      url: `redis+cluster://${servers.map(({ port }) => `${HOST}:${port}`).join(',')}`,
      servers,
      ownerOf,
      failedOver: (key, former) =>
        until('another holds the key', FORMED_WITHIN_MS, async () => {
          for (const one of servers.filter((each) => each !== former && each.isRunning())) {
            if ((await ownerAsSeenBy(one, key)) === former.port) return false;
          }
          return true;
        }),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function form(servers: readonly RedisServer[], replicas: number): Promise<void> {
  const hosts = servers.map(({ port }) => `${HOST}:${port}`);
  const args = ['--cluster', 'create', ...hosts, '--cluster-replicas', String(replicas)];
  const child = spawn('redis-cli', [...args, '--cluster-yes'], { stdio: 'ignore' });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new Error(`redis-cli --cluster create ended with ${code}`);
  for (const one of servers) {
    await until('the cluster is formed', FORMED_WITHIN_MS, async () => {
      const info = String(await one.call('CLUSTER', 'INFO'));
      const replication = String(await one.call('INFO', 'replication'));
      const follows = !replication.includes('role:slave') || replication.includes('link_status:up');
      return info.includes('cluster_state:ok') && follows;
    });
  }
}

async function ownerAsSeenBy(server: RedisServer, key: string): Promise<number | undefined> {
  const slot = Number(await server.call('CLUSTER', 'KEYSLOT', key));
  const rows = (await server.call('CLUSTER', 'SLOTS')) as [number, number, [string, number]][];
  return rows.find(([from, to]) => from <= slot && slot <= to)?.[2][1];
}

const temporaryFolder = (): string =>
  mkdtempSync(path.join(os.tmpdir(), 'cofferdam-faults-redis-'));

/** Below the range that outgoing connections take theirs from: a killed server finds its port free again. */
const LEAST_PORT = 20_000;
const PORTS = 10_000;

export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = LEAST_PORT + Math.floor(Math.random() * PORTS);
    const isFree = await new Promise<boolean>((resolve) => {
      const probe = net.createServer();
      probe.once('error', () => resolve(false));
      probe.listen(port, HOST, () => probe.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
  throw new Error('no free port found');
}

/** Looks until it is so, and says how long that took. */
async function until(
  what: string,
  withinMs: number,
  isSo: () => Promise<boolean>,
): Promise<number> {
  const startedAtMs = Date.now();
  while (!(await isSo())) {
    if (Date.now() - startedAtMs > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(LOOK_MS);
  }
  return Date.now() - startedAtMs;
}
