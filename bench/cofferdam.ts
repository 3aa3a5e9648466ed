/** Cofferdam as the benchmarks start it: all in one process, or API, worker and Redis apart. */
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { startEmbeddedRedis } from '../services/cli/embedded-redis.ts';
import { createLog } from '../shared/log.ts';
import { connectRedis, type RedisAddress } from '../shared/queue/connection.ts';
import { type Caller, callerOf, startProcess, startServer } from '../test/helpers/server.ts';
import type { Run } from './benchmark.ts';

type Env = Readonly<Record<string, string>>;

/** A benchmark's jobs need no time to end well. */
const QUICK_STOP = { COFFERDAM_DRAIN_MS: '2000' };
const POOL_FULL_WITHIN_MS = 30_000;

/** Who speaks to an API. */
export interface Client {
  readonly api: Caller;
  readonly url: string;
  readonly key: string;
}

export interface Served extends Client {
  readonly pid: number;
  /** The id of the worker, which its sandboxes are labelled with. */
  readonly worker: string;
  /** The Redis inside. */
  readonly redis: Redis;
}

/** `cofferdam serve` with its defaults but for `env`, once its pool is full. */
export async function serve(run: Run, env: Env = {}): Promise<Served> {
  const served = await serveCold(run, env);
  await untilPoolFull(served.api);
  return served;
}

/** The same as soon as it listens. */
export async function serveCold(run: Run, env: Env = {}): Promise<Served> {
  const server = await startServer({ ...QUICK_STOP, ...env }, { isDetached: true });
  run.own(server, () => server.stop());
  const redis = openRedis(run, { socket: path.join(server.dataDir, 'redis/redis.sock') });
  const { url, key, pid } = server;
  return { api: callerOf(server), url, key, pid, worker: server.worker(), redis };
}

/** A Redis with the very settings of the embedded one, reached over TCP so that API and worker can be apart. */
export async function startRedis(run: Run): Promise<{ url: string; redis: Redis }> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-bench-'));
  run.own(folder, () => rmSync(folder, { recursive: true, force: true }));
  const embedded = await startEmbeddedRedis(folder, createLog('silent'));
  run.own(embedded, () => embedded.stop());
  const redis = openRedis(run, embedded.address);
  const port = await freePort();
  await redis.config('SET', 'port', port);
  return { url: `redis://127.0.0.1:${port}`, redis };
}

/** `cofferdam api` alone. */
export async function startApi(
  run: Run,
  redisUrl: string,
  env: Env = {},
): Promise<Client & { readonly pid: number }> {
  const server = await startServer(
    { ...QUICK_STOP, COFFERDAM_REDIS_URL: redisUrl, ...env },
    { command: 'api', isDetached: true },
  );
  run.own(server, () => server.stop());
  const { url, key, pid } = server;
  return { api: callerOf(server), url, key, pid };
}

/** `cofferdam worker` alone. */
export async function startWorker(
  run: Run,
  redisUrl: string,
  env: Env = {},
): Promise<{ readonly pid: number; readonly worker: string }> {
  const worker = await startProcess(
    'worker',
    { ...QUICK_STOP, COFFERDAM_REDIS_URL: redisUrl, ...env },
    { up: /"worker":"([^"]+)".*"worker started"/, isDetached: true },
  );
  run.own(worker, () => worker.stop());
  return { pid: worker.pid, worker: worker.said };
}

/** Nothing is being made or removed: what comes next measures its own way and not its predecessor's. */
export async function untilPoolFull(api: Caller): Promise<void> {
  const deadline = Date.now() + POOL_FULL_WITHIN_MS;
  while (Date.now() < deadline) {
    const metrics = await (await api.send('/metrics')).text();
    const sandboxes = (state: string): number =>
      Number(metrics.match(new RegExp(`cofferdam_pool_sandboxes{state="${state}"} (\\d+)`))?.[1]);
    if (sandboxes('creating') === 0 && sandboxes('removing') === 0 && sandboxes('ready') > 0)
      return;
    await sleep(20);
  }
  throw new Error(`The pool was not full within ${POOL_FULL_WITHIN_MS} ms.`);
}

export const pidOfRedis = async (redis: Redis): Promise<number> =>
  Number((await redis.info('server')).match(/process_id:(\d+)/)?.[1]);

function openRedis(run: Run, address: RedisAddress): Redis {
  const redis = connectRedis(address, 'patient', createLog('silent'));
  return run.own(redis, (one) => one.disconnect());
}

/** A port that was free a moment ago. */
const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
