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
import { livingWorkers, readInstallation } from '../../shared/queue/workers.ts';
import { Attempts } from './attempts.ts';
import { type BlobCache, createBlobCache } from './blob-cache.ts';
import { createCanary } from './canary.ts';
import { type WorkerConfig, workerConfig } from './config.ts';
import { type Consumer, createConsumer } from './consumer.ts';
import { createGenuineCheck } from './genuine.ts';
import { LiveOutputs } from './live.ts';
import { createWorkerMetrics, type WorkerMetrics } from './metrics.ts';
import { createGate } from './pool/gate.ts';
import { Groups } from './pool/groups.ts';
import { createMaker } from './pool/maker.ts';
import { Pool } from './pool/pool.ts';
import { createRemover } from './pool/remover.ts';
import { createSweep } from './pool/sweep.ts';
import { chooseUidBlock, createUids } from './pool/uids.ts';
import { accountOf, createPresence } from './presence.ts';
import { createDockerEngine } from './sandbox/docker-engine.ts';
import { dockerImages } from './sandbox/docker-images.ts';
import { createImageStore, type ImageStore } from './sandbox/image-store.ts';
import type { SandboxEngine } from './sandbox/sandbox.ts';

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
  const self: Identity = { worker, installation: await readInstallation(redis), config, log };
  const subscriber = connect(parts, 'worker subscriber', log);

  const { engine, images } = await openEngine(self, settings);
  const count = createWorkerMetrics(parts.metrics);
  let onEngineState: Consumer['pause'] = () => {};
  const { pool, sweep, canary } = await createPool(self, {
    engine,
    images,
    redis,
    count,
    onProven: () => void presence.tell().catch(() => {}),
    onEngineState: (isFailing) => onEngineState(isFailing),
  });
  const blobs = openBlobs(self, { redis, count });
  count.watch(() => ({ ...pool.figures(), blobCacheBytes: blobs.bytes }));
  lifecycle.own('pool', pool, () => pool.stop());

  const entrance = openEntrance(self, { redis, lifecycle });
  const live = new LiveOutputs({ redis, log });
  const attempts = new Attempts({
    live,
    isGenuine: createGenuineCheck(settings.trust.signingKeys, log),
    redis,
    worker,
    streamBytes: config.streamBytes,
    leases: pool,
    offers: (runtime) => canary.proven.has(runtime),
    blobs,
    release: entrance.release,
    log,
    onDone: (outcome) => count.outcomes(outcome.kind),
  });
  const presence = createPresence({
    redis,
    subscriber,
    worker,
    account: () => {
      const runtimes = [...canary.proven];
      return accountOf(worker, { slots: config.slots, pool: pool.figures(), images, runtimes });
    },
    runningIds: () => attempts.runningIds(),
    cancel: ({ id, by }) => attempts.end(id, { kind: 'cancelled', by }),
    follow: (id) => live.follow(id),
    log,
  });
  lifecycle.own('presence', presence, () => presence.stop());
  await presence.start();
  lifecycle.own('canary', canary, () => canary.stop());
  await canary.start();
  await presence.tell();
  pool.start();
  const consumer = createConsumer({ ...config, redis, attempts, log });
  lifecycle.own('consumer', consumer, () => consumer.stop());
  // Only where a stock is kept does the pool find out by itself that the engine works again.
  if (config.poolMaxReady > 0) onEngineState = consumer.pause;
  sweep.start();
  lifecycle.own('sweep', sweep, () => sweep.stop());
  const has = { images: [...images.prepared.keys()], runtimes: [...canary.proven] };
  log.info({ slots: config.slots, ...has }, 'worker started');
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
    imageOf: images.imageOf,
    log,
  }).catch(unusable);
  return { engine, images };
}

async function createPool(
  { worker, installation, config, log }: Identity,
  {
    engine,
    images,
    redis,
    count,
    onEngineState,
    onProven,
  }: {
    engine: SandboxEngine;
    images: ImageStore;
    redis: Redis;
    count: WorkerMetrics;
    onEngineState: (isFailing: boolean) => void;
    onProven: () => void;
  },
) {
  const listed = await engine.list();
  const uids = createUids(chooseUidBlock(listed.map(({ uid }) => uid)));
  const gate = createGate(os.availableParallelism() * ENGINE_CALLS_PER_CORE);
  const remover = createRemover({ engine, gate, uids, log });
  const stock = new Pool({
    engine,
    gate,
    remover,
    uids,
    target: config.poolReady,
    maxReady: config.poolMaxReady,
    firstShape: config.firstShape,
    maxAgeMs: config.poolMaxAgeMs,
    maxLifeMs: config.maxLifeMs,
    log,
    onCreated: (ms) => count.creation(ms / 1000),
    onMiss: count.miss,
    onEngineState,
  });
  const canaryMaker = createMaker({ engine, gate, remover, uids, lifeMs: config.maxLifeMs });
  const canary = createCanary({
    engine,
    maker: canaryMaker,
    allowed: config.runtimes,
    shape: { ...config.firstShape, image: images.anyUsable(config.firstShape.image) },
    onProven,
    log,
  });
  const sweep = createSweep({
    engine,
    gate,
    worker,
    installation,
    owns: (nonce) => stock.owns(nonce) || canaryMaker.owns(nonce),
    livingOf: (ids) => livingWorkers(redis, ids),
    onSwept: (gone) => count.swept(gone),
    log,
  });
  const slots = config.slots + config.reservedSlots;
  return { pool: new Groups({ pool: stock, slots, log }), sweep, canary };
}
