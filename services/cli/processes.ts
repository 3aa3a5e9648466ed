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
  const lifecycle = createLifecycle({ drainMs: settings.drainMs, log });
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
  starting(env, async ({ settings, log, lifecycle }) => {
    const { key, file } = resolveKey(settings);
    const redis = await redisFor({ settings, log, lifecycle });
    const metrics = createMetrics();
    const { startWorker } = await import('../worker/main.ts');
    await startWorker({ settings, redis, lifecycle, metrics, log });
    const { url } = await startApi({ settings, key, redis, lifecycle, metrics, log });
    if (options.sample) {
      const reachable = isLoopback(settings.host) ? url : url.replace(settings.host, '127.0.0.1');
      await runSample({ url: reachable, key, keyFile: file });
    }
  });

async function redisFor({ settings, log, lifecycle }: Base): Promise<RedisAddress> {
  if (settings.redisUrl !== undefined) return { url: settings.redisUrl };
  const embedded = await startEmbeddedRedis(settings.dataDir, log);
  lifecycle.own('embedded redis', embedded, () => embedded.stop());
  // Nothing can be kept without it: end, so that whoever watches this process starts it again.
  void embedded.lost.then(() => lifecycle.abandon(new Error('The embedded Redis is gone.')));
  return embedded.address;
}
