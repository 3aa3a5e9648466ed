/** The worker's story: engine and images, then the pool, then the queue; stopped in reverse. */
import { randomBytes } from 'node:crypto';
import os from 'node:os';
import type { Settings } from '../../shared/config/settings.ts';
import { readCatalogue } from '../../shared/images.ts';
import type { Lifecycle } from '../../shared/lifecycle.ts';
import type { Log } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { connectRedis, type RedisAddress } from '../../shared/queue/connection.ts';
import { livingWorkers, type WorkerAccount } from '../../shared/queue/workers.ts';
import { workerConfig } from './config.ts';
import { createConsumer } from './consumer.ts';
import { createWorkerMetrics } from './metrics.ts';
import { createGate } from './pool/gate.ts';
import { Pool } from './pool/pool.ts';
import { createRemover } from './pool/remover.ts';
import { createSweep } from './pool/sweep.ts';
import { chooseUidBlock, createUids } from './pool/uids.ts';
import { createPresence } from './presence.ts';
import { createDockerEngine, dockerImages } from './sandbox/docker-engine.ts';
import { createImageStore, ImageUnusableError } from './sandbox/image-store.ts';

/** Past about twice the cores the engine only gets slower. */
const ENGINE_CALLS_PER_CORE = 2;

export interface WorkerParts {
  readonly settings: Settings;
  readonly redis: RedisAddress;
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
  readonly log: Log;
}

export async function startWorker(parts: WorkerParts): Promise<{ pool: Pool }> {
  const { settings, lifecycle, metrics } = parts;
  const config = workerConfig(settings);
  const worker = `${os.hostname()}-${randomBytes(4).toString('hex')}`;
  const log = parts.log.child({ worker });

  const images = createImageStore({
    catalogue: readCatalogue(settings.imagesFile),
    guestFile: config.guestFile,
    transport: dockerImages(config.engine),
    log,
  });
  const prepared = await images.prepare();
  const engine = await createDockerEngine({
    address: config.engine,
    worker,
    idleSeconds: config.idleSeconds,
    maxOpenFiles: config.maxOpenFiles,
    imageOf: images.imageOf,
    log,
  });

  const redis = connectRedis(parts.redis, 'patient', log);
  lifecycle.own('worker redis', redis, () => redis.disconnect());
  const subscriber = connectRedis(parts.redis, 'patient', log);
  lifecycle.own('worker subscriber', subscriber, () => subscriber.disconnect());

  const listed = await engine.list();
  const uids = createUids(chooseUidBlock(listed.map(({ uid }) => uid)));
  const gate = createGate(os.availableParallelism() * ENGINE_CALLS_PER_CORE);
  const remover = createRemover({ engine, gate, uids, log });
  const count = createWorkerMetrics(metrics, () => pool.figures());
  const pool: Pool = new Pool({
    engine,
    gate,
    remover,
    uids,
    target: config.poolReady,
    firstShape: config.firstShape,
    maxAgeMs: config.poolMaxAgeMs,
    maxLifeMs: config.maxLifeMs,
    log,
    onCreated: (ms) => count.creation(ms / 1000),
  });
  const sweep = createSweep({
    engine,
    gate,
    worker,
    owns: (nonce) => pool.owns(nonce),
    livingOf: (ids) => livingWorkers(redis, ids),
    onSwept: (gone) => {
      for (let left = gone; left > 0; left--) count.swept();
    },
    log,
  });
  pool.start();
  lifecycle.own('pool', pool, () => pool.stop());

  const account = (): WorkerAccount => {
    const { leased, ready, creating, engineFailing } = pool.figures();
    const imageStates = [...prepared].map(([name, image]) => [
      name,
      image instanceof ImageUnusableError ? { fault: image.message } : { digest: image.digest },
    ]);
    return {
      id: worker,
      host: os.hostname(),
      slots: config.slots,
      running: leased,
      ready,
      creating,
      engineFailing,
      images: Object.fromEntries(imageStates),
    };
  };
  const presence = createPresence({
    redis,
    subscriber,
    worker,
    account,
    runningIds: () => consumer.runningIds(),
    cancel: (id) => consumer.cancel(id, 'caller'),
    log,
  });
  lifecycle.own('presence', presence, () => presence.stop());
  const consumer = createConsumer({
    redis,
    worker,
    slots: config.slots,
    drainMs: config.drainMs,
    streamBytes: config.streamBytes,
    leases: pool,
    log,
    onDone: (outcome) => count.outcomes(outcome.kind),
  });
  lifecycle.own('consumer', consumer, () => consumer.stop());
  await presence.start();
  sweep.start();
  lifecycle.own('sweep', sweep, () => sweep.stop());
  log.info({ slots: config.slots, images: [...prepared.keys()] }, 'worker started');
  return { pool };
}
