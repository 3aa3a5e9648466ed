/** The worker's story: engine and images, then the pool, then the queue; stopped in reverse. */
import { randomBytes } from 'node:crypto';
import os from 'node:os';
import type { Redis } from 'ioredis';
import type { Settings } from '../../shared/config/settings.ts';
import type { Lifecycle } from '../../shared/lifecycle.ts';
import type { Log } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { readBlob } from '../../shared/queue/blobs.ts';
import { requireUsableRedis } from '../../shared/queue/check.ts';
import { connectRedis, type RedisAddress } from '../../shared/queue/connection.ts';
import { createEntrance, type Entrance } from '../../shared/queue/entrance.ts';
import { countWaiting } from '../../shared/queue/queue-age.ts';
import { readSharedClock } from '../../shared/queue/shared-clock.ts';
import { readInstallation } from '../../shared/queue/workers.ts';
import { Attempts } from './attempts.ts';
import { type BlobCache, createBlobCache } from './blob-cache.ts';
import { workerConfig } from './config.ts';
import { createConsumer } from './consumer.ts';
import { createGenuineCheck } from './genuine.ts';
import { LiveOutputs } from './live.ts';
import { createWorkerMetrics, type WorkerMetrics } from './metrics.ts';
import { EngineWatch, guarded } from './pool/engine-watch.ts';
import { accountOf, createPresence } from './presence.ts';
import type { SandboxEngine } from './sandbox/sandbox.ts';
import { createSupply, type Identity, openEngine } from './supply.ts';
import { Watchdog } from './watchdog.ts';

export interface WorkerParts {
  readonly settings: Settings;
  readonly redis: RedisAddress;
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
  readonly log: Log;
}

export async function startWorker(parts: WorkerParts): Promise<void> {
  const { settings, lifecycle } = parts;
  const config = workerConfig(settings);
  const worker = `${os.hostname()}-${randomBytes(4).toString('hex')}`;
  const log = parts.log.child({ worker });
  const redis = connect(parts, 'worker redis', log);
  await requireUsableRedis(redis);
  const installation = await readInstallation(redis);
  const clock = await readSharedClock(redis);
  const self: Identity = { worker, installation, clock, redis, config, log };

  const { engine, images } = await openEngine(self, settings);
  const count = createWorkerMetrics(parts.metrics);
  let onJobsUnwelcome: Watchdog['pause'] = () => {};
  let isSilent: Watchdog['isSilent'] = () => false;
  const watch = openWatch(self, { engine, lifecycle });
  const { pool, sweep, canary } = await createSupply(self, {
    engine: guarded(engine, watch),
    watch,
    images,
    count,
    onProven: () => void presence.tell().catch(() => {}),
    onJobsUnwelcome: (areUnwelcome) => onJobsUnwelcome(areUnwelcome),
  });
  const blobs = openBlobs(self, { redis, count });
  count.watch(() => ({ ...pool.figures(), blobCacheBytes: blobs.bytes }));
  lifecycle.own('pool', pool, () => pool.stop());
  const entrance = openEntrance(self, { redis, lifecycle });
  const live = new LiveOutputs({ redis, log });
  const attempts = new Attempts({
    ...self,
    live,
    isGenuine: createGenuineCheck(settings.trust.signingKeys, log),
    streamBytes: config.streamBytes,
    leases: pool,
    offers: (runtime) => canary.proven.has(runtime),
    blobs,
    release: entrance.release,
    onDone: (outcome) => count.outcomes(outcome.kind),
  });
  const presence = createPresence({
    ...self,
    subscriber: connect(parts, 'worker subscriber', log),
    account: () => accountOf(self, { pool, canary, images, isSilent: isSilent() }),
    runningIds: () => attempts.runningIds(),
    cancel: ({ id, by }) => attempts.end(id, { kind: 'cancelled', by }),
    follow: (id) => live.follow(id),
  });
  await lifecycle.own('presence', presence, () => presence.stop()).start();
  await lifecycle.own('canary', canary, () => canary.stop()).start();
  await presence.tell();
  pool.start();
  lifecycle.own('sweep', sweep, () => sweep.stop()).start();
  const consumer = openConsumer(self, { attempts, count, lifecycle });
  isSilent = consumer.isSilent;
  onJobsUnwelcome = consumer.pause;
  log.info({ slots: config.slots, runtimes: [...canary.proven] }, 'worker started');
}

function connect({ redis: address, lifecycle }: WorkerParts, name: string, log: Log): Redis {
  const redis = connectRedis(address, 'patient', log);
  return lifecycle.own(name, redis, () => redis.disconnect());
}

function openEntrance(
  { log }: Identity,
  { redis, lifecycle }: { redis: Redis; lifecycle: Lifecycle },
): Entrance {
  const entrance = createEntrance({ redis, log });
  entrance.start();
  return lifecycle.own('entrance', entrance, () => entrance.stop());
}

function openConsumer(
  { config, redis, clock, log }: Identity,
  {
    attempts,
    count,
    lifecycle,
  }: { attempts: Attempts; count: WorkerMetrics; lifecycle: Lifecycle },
): Watchdog {
  const consumer = new Watchdog({
    open: () => createConsumer({ ...config, redis, clock, attempts, log }),
    countWaiting: () => countWaiting(redis),
    onRenewed: count.renewed,
    abandon: lifecycle.abandon,
    log,
  });
  // The last part of a worker, and so the first that stops: nothing new is taken, whatever the rest takes to stop.
  return lifecycle.own('consumer', consumer, () => consumer.stop());
}

function openWatch(
  { log }: Identity,
  { engine, lifecycle }: { engine: SandboxEngine; lifecycle: Lifecycle },
): EngineWatch {
  const watch = new EngineWatch({ engine, log });
  watch.start();
  return lifecycle.own('engine watch', watch, () => watch.stop());
}

const openBlobs = (
  { config }: Identity,
  { redis, count }: { redis: Redis; count: WorkerMetrics },
): BlobCache =>
  createBlobCache({
    read: (tenant, blob) => readBlob(redis, tenant, blob),
    maxBytes: config.blobCacheBytes,
    onFetch: count.blobFetch,
  });
