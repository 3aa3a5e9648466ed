/** The worker's story: engine and images, then the pool, then the queue; stopped in reverse. */
import { randomBytes } from 'node:crypto';
import os from 'node:os';
import type { Redis } from 'ioredis';
import type { Settings } from '../../shared/config/settings.ts';
import { readCatalogue } from '../../shared/images.ts';
import type { Lifecycle } from '../../shared/lifecycle.ts';
import type { Log } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { readBlob } from '../../shared/queue/blobs.ts';
import { requireUsableRedis } from '../../shared/queue/check.ts';
import { connectRedis, type RedisAddress } from '../../shared/queue/connection.ts';
import { createEntrance, type Entrance } from '../../shared/queue/entrance.ts';
import { countWaiting } from '../../shared/queue/queue-age.ts';
import { readSharedClock, type SharedClock } from '../../shared/queue/shared-clock.ts';
import { livingWorkers, readInstallation } from '../../shared/queue/workers.ts';
import { Attempts } from './attempts.ts';
import { type BlobCache, createBlobCache } from './blob-cache.ts';
import { type WorkerConfig, workerConfig } from './config.ts';
import { createConsumer } from './consumer.ts';
import { createGenuineCheck } from './genuine.ts';
import { LiveOutputs } from './live.ts';
import { createWorkerMetrics, type WorkerMetrics } from './metrics.ts';
import { EngineWatch, guarded } from './pool/engine-watch.ts';
import { createGate } from './pool/gate.ts';
import { Groups } from './pool/groups.ts';
import { Pool } from './pool/pool.ts';
import { createRemover } from './pool/remover.ts';
import { createSweep } from './pool/sweep.ts';
import { chooseUidBlock, createUids } from './pool/uids.ts';
import { accountOf, createPresence } from './presence.ts';
import { createDockerEngine } from './sandbox/docker-engine.ts';
import { dockerImages } from './sandbox/docker-images.ts';
import { createImageStore, type ImageStore } from './sandbox/image-store.ts';
import type { SandboxEngine } from './sandbox/sandbox.ts';
import { Watchdog } from './watchdog.ts';

/** Past about twice the cores the engine makes and removes no more in a second, and each job waits longer. */
const ENGINE_CALLS_PER_CORE = 2;

export interface WorkerParts {
  readonly settings: Settings;
  readonly redis: RedisAddress;
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
  readonly log: Log;
}

interface Identity {
  readonly worker: string;
  readonly installation: string;
  readonly clock: SharedClock;
  readonly redis: Redis;
  readonly config: WorkerConfig;
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
  const subscriber = connect(parts, 'worker subscriber', log);

  const { engine, images } = await openEngine(self, settings);
  const count = createWorkerMetrics(parts.metrics);
  let onJobsUnwelcome: Watchdog['pause'] = () => {};
  let isSilent: Watchdog['isSilent'] = () => false;
  const watch = openWatch(self, { engine, lifecycle });
  const { pool, sweep } = await createPool(self, {
    engine: guarded(engine, watch),
    watch,
    redis,
    count,
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
    blobs,
    release: entrance.release,
    onDone: (outcome) => count.outcomes(outcome.kind),
  });
  const presence = createPresence({
    ...self,
    subscriber,
    account: () => accountOf(self, { pool: pool.figures(), isSilent: isSilent(), images }),
    runningIds: () => attempts.runningIds(),
    cancel: ({ id, by }) => attempts.end(id, { kind: 'cancelled', by }),
    follow: (id) => live.follow(id),
  });
  lifecycle.own('presence', presence, () => presence.stop());
  await presence.start();
  pool.start();
  sweep.start();
  lifecycle.own('sweep', sweep, () => sweep.stop());
  const consumer = openConsumer(self, { lifecycle, attempts, count });
  isSilent = consumer.isSilent;
  onJobsUnwelcome = consumer.pause;
  log.info({ slots: config.slots, images: [...images.prepared.keys()] }, 'worker started');
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

function openWatch(
  { log }: Identity,
  { engine, lifecycle }: { engine: SandboxEngine; lifecycle: Lifecycle },
): EngineWatch {
  const watch = new EngineWatch({ engine, log });
  watch.start();
  return lifecycle.own('engine watch', watch, () => watch.stop());
}

function openConsumer(
  { redis, clock, config, log }: Identity,
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

const openBlobs = (
  { config }: Identity,
  { redis, count }: { redis: Redis; count: WorkerMetrics },
): BlobCache =>
  createBlobCache({
    read: (tenant, blob) => readBlob(redis, tenant, blob),
    maxBytes: config.blobCacheBytes,
    onFetch: count.blobFetch,
  });

async function openEngine(
  { worker, installation, config, log }: Identity,
  settings: Settings,
): Promise<{ engine: SandboxEngine; images: ImageStore }> {
  const images = createImageStore({
    catalogue: readCatalogue(settings.imagesFile),
    guestFile: config.guestFile,
    transport: dockerImages(config.engine),
    log,
  });
  const unusable = (cause: Error): never => {
    const why = `The engine at ${settings.engine} cannot be used: ${cause.message}.`;
    throw new Error(`${why} \`cofferdam doctor\` says more.`, { cause });
  };
  await images.prepare().catch(unusable);
  const engine = await createDockerEngine({
    address: config.engine,
    worker,
    installation,
    idleSeconds: config.idleSeconds,
    maxOpenFiles: config.maxOpenFiles,
    maxProcesses: config.maxProcesses,
    images,
    log,
  }).catch(unusable);
  return { engine, images };
}

async function createPool(
  { worker, installation, clock, config, log }: Identity,
  {
    engine,
    watch,
    redis,
    count,
    onJobsUnwelcome,
  }: {
    engine: SandboxEngine;
    watch: EngineWatch;
    redis: Redis;
    count: WorkerMetrics;
    onJobsUnwelcome: (areUnwelcome: boolean) => void;
  },
) {
  const listed = await engine.list();
  const uids = createUids(chooseUidBlock(listed.map(({ uid }) => uid)));
  const gate = createGate(os.availableParallelism() * ENGINE_CALLS_PER_CORE);
  const stock = new Pool({
    engine,
    watch,
    gate,
    remover: createRemover({ engine, gate, uids, log }),
    uids,
    clock,
    target: config.poolReady,
    maxReady: config.poolMaxReady,
    firstShape: config.firstShape,
    maxAgeMs: config.poolMaxAgeMs,
    maxLifeMs: config.maxLifeMs,
    log,
    onCreated: (ms) => count.creation(ms / 1000),
    onMiss: count.miss,
    onJobsUnwelcome,
  });
  const sweep = createSweep({
    engine,
    gate,
    worker,
    installation,
    owns: (nonce) => stock.owns(nonce),
    clock,
    livingOf: (ids) => livingWorkers(redis, ids),
    onSwept: (gone) => count.swept(gone),
    log,
  });
  const slots = config.slots + config.reservedSlots;
  return { pool: new Groups({ pool: stock, slots, log }), sweep };
}
