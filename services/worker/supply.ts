/** What jobs get their sandboxes from: the engine with its images, the proof of its runtimes, the pool and the sweep. */
import os from 'node:os';
import type { Redis } from 'ioredis';
import type { Settings } from '../../shared/config/settings.ts';
import { readCatalogue } from '../../shared/images.ts';
import type { Log } from '../../shared/log.ts';
import type { SharedClock } from '../../shared/queue/shared-clock.ts';
import { livingWorkers } from '../../shared/queue/workers.ts';
import { createCanary } from './canary.ts';
import type { WorkerConfig } from './config.ts';
import type { WorkerMetrics } from './metrics.ts';
import type { EngineWatch } from './pool/engine-watch.ts';
import { createGate } from './pool/gate.ts';
import { Groups } from './pool/groups.ts';
import { createMaker } from './pool/maker.ts';
import { Pool } from './pool/pool.ts';
import { createRemover } from './pool/remover.ts';
import { createSweep } from './pool/sweep.ts';
import { chooseUidBlock, createUids } from './pool/uids.ts';
import { createDockerEngine } from './sandbox/docker-engine.ts';
import { dockerImages } from './sandbox/docker-images.ts';
import { createImageStore, type ImageStore } from './sandbox/image-store.ts';
import type { SandboxEngine } from './sandbox/sandbox.ts';

/** Past about twice the cores the engine makes and removes no more in a second, and each job waits longer. */
const ENGINE_CALLS_PER_CORE = 2;

export interface Identity {
  readonly worker: string;
  readonly installation: string;
  readonly clock: SharedClock;
  readonly redis: Redis;
  readonly config: WorkerConfig;
  readonly log: Log;
}

export async function openEngine(
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

export async function createSupply(
  { worker, installation, clock, redis, config, log }: Identity,
  {
    engine,
    watch,
    images,
    count,
    onJobsUnwelcome,
    onProven,
  }: {
    engine: SandboxEngine;
    watch: EngineWatch;
    images: ImageStore;
    count: WorkerMetrics;
    onJobsUnwelcome: (areUnwelcome: boolean) => void;
    onProven: () => void;
  },
) {
  const listed = await engine.list();
  const uids = createUids(chooseUidBlock(listed.map(({ uid }) => uid)));
  const gate = createGate(os.availableParallelism() * ENGINE_CALLS_PER_CORE);
  const remover = createRemover({ engine, gate, uids, log });
  const stock = new Pool({
    engine,
    watch,
    gate,
    remover,
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
  const canaryMaker = createMaker({ engine, gate, remover, uids, clock, lifeMs: config.maxLifeMs });
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
    clock,
    livingOf: (ids) => livingWorkers(redis, ids),
    onSwept: (gone) => count.swept(gone),
    log,
  });
  const slots = config.slots + config.reservedSlots;
  return { pool: new Groups({ pool: stock, slots, log }), sweep, canary };
}
