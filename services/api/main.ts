/** The API's story: Redis, then what answers requests from it, then the socket; stopped in reverse. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { Redis } from 'ioredis';
import type { Settings } from '../../shared/config/settings.ts';
import { readTenants, type Tenants } from '../../shared/config/tenants.ts';
import { type Catalogue, packageRoot, readCatalogue } from '../../shared/images.ts';
import type { Lifecycle } from '../../shared/lifecycle.ts';
import type { Log } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { loadAdmission } from '../../shared/queue/admit.ts';
import { requireUsableRedis } from '../../shared/queue/check.ts';
import { connectRedis, type RedisAddress } from '../../shared/queue/connection.ts';
import { createEntrance } from '../../shared/queue/entrance.ts';
import { keys } from '../../shared/queue/keys.ts';
import { createAdmit } from './admit.ts';
import { createAuthenticate } from './auth.ts';
import { createBatchResults } from './batch-results.ts';
import { createUpload } from './batch-upload.ts';
import { createBatches } from './batches.ts';
import { createBlobs } from './blobs.ts';
import { createCanceller } from './canceller.ts';
import { serverUrl } from './config.ts';
import { createJobs } from './jobs.ts';
import { createPressure } from './pressure.ts';
import { createResults, type Results } from './results.ts';
import { artifactRoutes } from './routes/artifacts.ts';
import { batchRoutes } from './routes/batches.ts';
import { blobRoutes } from './routes/blobs.ts';
import { eventRoutes } from './routes/events.ts';
import { healthRoutes } from './routes/health.ts';
import { infoRoutes } from './routes/info.ts';
import { jobRoutes } from './routes/jobs.ts';
import { buildServer } from './server.ts';
import { createEventStreams, type EventStreams } from './sse.ts';
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
  const catalogue = readCatalogue(settings.imagesFile);
  if (!catalogue.has(settings.defaultImage)) {
    throw new Error(`COFFERDAM_DEFAULT_IMAGE: there is no image ${settings.defaultImage}.`);
  }
  const tenants = readTenants(settings.tenantsFile, settings.maxTenantOpenJobs);
  const closing = new AbortController();
  const { redis, subscriber, check } = await openStore(parts);
  const { results, instance } = await startResults(parts, { redis, subscriber });
  const work = startWork(parts, { redis, catalogue, tenants });
  const jobs = createJobs({ redis, results, entrance: work.entrance });
  const { signal } = closing;
  const batches = createBatches({ redis, canceller: work.canceller, closing: signal, log });
  const batchResults = createBatchResults({ redis, batches, closing: signal });

  const { maxBodyBytes } = settings;
  const version = packageVersion();
  const streams = openStreams(metrics);
  const server = await buildServer({
    maxBodyBytes,
    authenticate: createAuthenticate(parts.key, tenants),
    metrics,
    version,
    log,
    addRoutes(scope) {
      jobRoutes(scope, { admit: work.admit, jobs, results, instance });
      eventRoutes(scope, { redis, streams, batches, results: batchResults, log });
      artifactRoutes(scope, { jobs });
      batchRoutes(scope, { ...work, batches, results: batchResults, maxLineBytes: maxBodyBytes });
      blobRoutes(scope, { blobs: work.blobs, maxBlobBytes: settings.blobs.maxBytes });
      infoRoutes(scope, { redis, settings, catalogue, version });
      healthRoutes(scope, { redis, check, metrics });
    },
  });
  lifecycle.own('http', server, () => {
    closing.abort();
    results.release();
    streams.release();
    return server.close();
  });
  await server.listen({ host: settings.host, port: settings.port });
  const { port } = server.server.address() as AddressInfo;
  const url = serverUrl(settings.host, port);
  log.info({ url, redis: check.version, durability: check.durability }, 'api started');
  return { url };
}

function openStreams(metrics: Metrics): EventStreams {
  const streams = createEventStreams();
  metrics.gauge('event_streams', 'Event streams open.', [], (set) => set(streams.count()));
  return streams;
}

async function startResults(
  { lifecycle, log }: ApiParts,
  store: { redis: Redis; subscriber: Redis },
): Promise<{ results: Results; instance: string }> {
  const instance = randomBytes(8).toString('hex');
  const results = createResults({ ...store, instance, log });
  await results.start();
  lifecycle.own('results', results, () => results.stop());
  return { results, instance };
}

/** Everything on the way of a job into the queue, and what mends it. */
function startWork(
  { settings, lifecycle, metrics, log }: ApiParts,
  { redis, catalogue, tenants }: { redis: Redis; catalogue: Catalogue; tenants: Tenants },
) {
  const entrance = createEntrance({ redis, log });
  entrance.start();
  lifecycle.own('entrance', entrance, () => entrance.stop());
  const canceller = createCanceller({ redis, entrance, log });
  lifecycle.own('canceller', canceller, () => canceller.stop());
  const sweeper = createSweeper({ redis, entrance, canceller, log });
  sweeper.start();
  lifecycle.own('sweeper', sweeper, () => sweeper.stop());
  const pressure = createPressure({ redis, settings, metrics, log });
  pressure.start();
  lifecycle.own('pressure', pressure, () => pressure.stop());

  const { limits, defaultImage, maxOpenJobs } = settings;
  const rules = { limits, defaultImage, catalogue };
  const onAccepted = metrics.counter('jobs_accepted_total', 'Jobs accepted.', []);
  metrics.gauge('open_jobs', 'Jobs waiting or running.', [], async (set) => {
    set(await redis.zcard(keys.open()).catch(() => Number.NaN));
  });
  const blobs = createBlobs({ redis, ...settings.blobs });
  const common = { redis, entrance, pressure, maxOpenJobs, onAccepted, log };
  const admit = createAdmit({ ...common, blobs, rules, tenants });
  const upload = createUpload({ ...common, admit, canceller, limits });
  return { entrance, canceller, blobs, admit, upload };
}

async function openStore({ redis: address, lifecycle, log }: ApiParts) {
  const redis = connectRedis(address, 'request', log);
  lifecycle.own('api redis', redis, () => redis.disconnect());
  const check = await requireUsableRedis(redis);
  await loadAdmission(redis);
  redis.on('ready', () => void loadAdmission(redis).catch(() => {}));
  const subscriber = connectRedis(address, 'patient', log);
  lifecycle.own('api subscriber', subscriber, () => subscriber.disconnect());
  return { redis, subscriber, check };
}

const packageVersion = (): string =>
  (JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8')) as { version: string })
    .version;
