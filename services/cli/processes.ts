/** `serve`, `api` and `worker`: each builds what it is made of, and stops it in reverse. */
import os from 'node:os';
import { parseSettings, type Settings } from '../../shared/config/settings.ts';
import { createLifecycle, type Lifecycle } from '../../shared/lifecycle.ts';
import { createLog, type Log } from '../../shared/log.ts';
import { createMetrics } from '../../shared/metrics.ts';
import { connectRedis, type RedisAddress, waitUntilReady } from '../../shared/queue/connection.ts';
import { readWorkers } from '../../shared/queue/workers.ts';
import { isLoopback, resolveKey } from '../api/config.ts';
import { startApi } from '../api/main.ts';
import { startEmbeddedRedis } from './embedded-redis.ts';
import { runSample } from './sample.ts';
import { withSigningKey } from './signing-key.ts';

type Env = Readonly<Record<string, string | undefined>>;

const CHECK_WITHIN_MS = 5_000;

interface Base {
  readonly settings: Settings;
  readonly log: Log;
  readonly lifecycle: Lifecycle;
}

/** Starts parts one after another; when one fails, stops those that had started. */
async function starting(env: Env, start: (base: Base) => Promise<void>): Promise<void> {
  const settings = parseSettings(env);
  const log = createLog(settings.logLevel);
  const { drainMs, stopNoticeMs } = settings;
  const lifecycle = createLifecycle({ drainMs: stopNoticeMs + drainMs, log });
  lifecycle.stopOnSignals();
  try {
    await start({ settings, log, lifecycle });
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}

const sharedRedis = ({ redisUrl }: Settings, command: string): RedisAddress => {
  if (redisUrl !== undefined) return { url: redisUrl };
  throw new Error(
    `COFFERDAM_REDIS_URL: \`cofferdam ${command}\` needs a Redis to share; came none.`,
  );
};

export const runApi = (env: Env): Promise<void> =>
  starting(env, async ({ settings, log, lifecycle }) => {
    const redis = sharedRedis(settings, 'api');
    const { key } = resolveKey(settings);
    await startApi({ settings, key, redis, lifecycle, metrics: createMetrics(), log });
  });

export const runWorker = (env: Env): Promise<void> =>
  starting(env, async ({ settings, log, lifecycle }) => {
    const redis = sharedRedis(settings, 'worker');
    // Here alone: the engine's client is heavy, and the API has no use for it.
    const { startWorker } = await import('../worker/main.ts');
    await startWorker({ settings, redis, lifecycle, metrics: createMetrics(), log });
  });

/** Whether a worker on this host has said lately that it lives: for a container's health check. */
export async function isWorkerAlive(env: Env): Promise<boolean> {
  const settings = parseSettings(env);
  const redis = connectRedis(sharedRedis(settings, 'worker'), 'request', createLog('silent'));
  try {
    await waitUntilReady(redis, CHECK_WITHIN_MS);
    return (await readWorkers(redis)).some(({ host }) => host === os.hostname());
  } finally {
    redis.disconnect();
  }
}

export const runServe = (env: Env, options: { sample: boolean }): Promise<void> =>
  starting(env, async (base) => {
    const { url, key, file } = await startAll(base);
    if (options.sample) {
      const { host } = base.settings;
      const reachable = isLoopback(host) ? url : url.replace(host, '127.0.0.1');
      await runSample({ url: reachable, key, keyFile: file });
    }
  });

/** A server of one's own, as `serve` starts it, for as long as it is used. */
export const withServer = (
  env: Env,
  use: (server: { url: string; key: string }) => Promise<void>,
): Promise<void> =>
  starting(env, async (base) => {
    await use(await startAll(base));
    await base.lifecycle.stop();
  });

async function startAll(
  base: Base,
): Promise<{ url: string; key: string; file: string | undefined }> {
  const { log, lifecycle } = base;
  const { key, file } = resolveKey(base.settings);
  const redis = await redisFor(base);
  // Now the data folder is ours alone: who else serves from it was refused.
  const settings = withSigningKey(base.settings);
  const metrics = createMetrics();
  const { startWorker } = await import('../worker/main.ts');
  await startWorker({ settings, redis, lifecycle, metrics, log });
  const { url } = await startApi({ settings, key, redis, lifecycle, metrics, log });
  return { url, key, file };
}

async function redisFor({ settings, log, lifecycle }: Base): Promise<RedisAddress> {
  if (settings.redisUrl !== undefined) return { url: settings.redisUrl };
  const embedded = await startEmbeddedRedis(settings.dataDir, log);
  lifecycle.own('embedded redis', embedded, () => embedded.stop());
  // Nothing can be kept without it: end, so that whoever watches this process starts it again.
  void embedded.lost.then(() => lifecycle.abandon(new Error('The embedded Redis is gone.')));
  return embedded.address;
}
