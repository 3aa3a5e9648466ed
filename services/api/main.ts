/** The API's story: Redis, then what answers requests from it, then the socket; stopped in reverse. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { Queue } from 'bullmq';
import type { Settings } from '../../shared/config/settings.ts';
import { packageRoot, readCatalogue } from '../../shared/images.ts';
import type { Lifecycle } from '../../shared/lifecycle.ts';
import type { Log } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { loadAdmission } from '../../shared/queue/admit.ts';
import { requireUsableRedis } from '../../shared/queue/check.ts';
import { connectRedis, type RedisAddress } from '../../shared/queue/connection.ts';
import { keys } from '../../shared/queue/keys.ts';
import { EVENT_STREAM_LENGTH, QUEUE_NAME, QUEUE_PREFIX } from '../../shared/queue/options.ts';
import { createAdmit } from './admit.ts';
import { createAuthenticate } from './auth.ts';
import { serverUrl } from './config.ts';
import { createEntrance } from './entrance.ts';
import { createJobs } from './jobs.ts';
import { createResults } from './results.ts';
import { artifactRoutes } from './routes/artifacts.ts';
import { healthRoutes } from './routes/health.ts';
import { infoRoutes } from './routes/info.ts';
import { jobRoutes } from './routes/jobs.ts';
import { buildServer } from './server.ts';
import { createSweeper } from './sweeper.ts';

export interface ApiParts {
  readonly settings: Settings;
  readonly key: string;
  readonly redis: RedisAddress;
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
  readonly log: Log;
}

export async function startApi(parts: ApiParts): Promise<{ url: string }> {
  const { settings, lifecycle, metrics, log } = parts;
  const instance = randomBytes(8).toString('hex');
  const version = packageVersion();
  const catalogue = readCatalogue(settings.imagesFile);
  const rules = { limits: settings.limits, defaultImage: settings.defaultImage, catalogue };
  if (!catalogue.has(settings.defaultImage)) {
    throw new Error(`COFFERDAM_DEFAULT_IMAGE: there is no image ${settings.defaultImage}.`);
  }

  const { redis, subscriber, queue, check } = await openStore(parts);
  const entrance = createEntrance({ queue, redis, log });
  entrance.start();
  lifecycle.own('entrance', entrance, () => entrance.stop());

  const results = createResults({ redis, subscriber, instance, log });
  await results.start();
  lifecycle.own('results', results, () => results.stop());
  const sweeper = createSweeper({ redis, entrance, log });
  sweeper.start();
  lifecycle.own('sweeper', sweeper, () => sweeper.stop());

  const accepted = metrics.counter('jobs_accepted_total', 'Jobs accepted.', []);
  metrics.gauge('open_jobs', 'Jobs waiting or running.', [], async (set) => {
    set(await redis.zcard(keys.open()).catch(() => Number.NaN));
  });
  const { maxOpenJobs, maxBodyBytes } = settings;
  const admit = createAdmit({
    redis,
    entrance,
    rules,
    maxOpenJobs,
    onAccepted: () => accepted(1),
    log,
  });
  const jobs = createJobs({ redis, results });
  const server = await buildServer({
    maxBodyBytes,
    authenticate: createAuthenticate(parts.key),
    metrics,
    version,
    log,
    addRoutes(scope) {
      jobRoutes(scope, { admit, jobs, results, instance });
      artifactRoutes(scope, { jobs });
      infoRoutes(scope, { redis, settings, catalogue, version });
      healthRoutes(scope, { redis, check, metrics });
    },
  });
  lifecycle.own('http', server, () => {
    results.release();
    return server.close();
  });
  await server.listen({ host: settings.host, port: settings.port });
  const { port } = server.server.address() as AddressInfo;
  const url = serverUrl(settings.host, port);
  log.info({ url, redis: check.version, durability: check.durability }, 'api started');
  return { url };
}

async function openStore({ redis: address, lifecycle, log }: ApiParts) {
  const redis = connectRedis(address, 'request', log);
  lifecycle.own('api redis', redis, () => redis.disconnect());
  const check = await requireUsableRedis(redis);
  await loadAdmission(redis);
  redis.on('ready', () => void loadAdmission(redis).catch(() => {}));
  const subscriber = connectRedis(address, 'patient', log);
  lifecycle.own('api subscriber', subscriber, () => subscriber.disconnect());
  const queue = new Queue(QUEUE_NAME, {
    connection: redis,
    prefix: QUEUE_PREFIX,
    streams: { events: { maxLen: EVENT_STREAM_LENGTH } },
  });
  queue.on('error', (error) => log.warn({ err: error }, 'queue'));
  lifecycle.own('queue', queue, () => queue.close());
  return { redis, subscriber, queue, check };
}

const packageVersion = (): string =>
  (JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8')) as { version: string })
    .version;
