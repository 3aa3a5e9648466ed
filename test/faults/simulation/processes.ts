/** The processes of a simulated installation, put together of the product's own parts as its main.ts files do. */
import { type Admit, createAdmit } from '../../../services/api/admit.ts';
import { createCanceller } from '../../../services/api/canceller.ts';
import { createJobs, type Jobs } from '../../../services/api/jobs.ts';
import type { Permission } from '../../../services/api/permission.ts';
import type { Results } from '../../../services/api/results.ts';
import { createSweeper } from '../../../services/api/sweeper.ts';
import { Attempts } from '../../../services/worker/attempts.ts';
import { createConsumer } from '../../../services/worker/consumer.ts';
import { LiveOutputs } from '../../../services/worker/live.ts';
import { EngineWatch, guarded } from '../../../services/worker/pool/engine-watch.ts';
import { createGate } from '../../../services/worker/pool/gate.ts';
import { Groups } from '../../../services/worker/pool/groups.ts';
import { Pool } from '../../../services/worker/pool/pool.ts';
import { createRemover } from '../../../services/worker/pool/remover.ts';
import { createSweep } from '../../../services/worker/pool/sweep.ts';
import { createUids, type Uids } from '../../../services/worker/pool/uids.ts';
import { createPresence } from '../../../services/worker/presence.ts';
import { shapeOf } from '../../../services/worker/sandbox/sandbox.ts';
import { createLifecycle, type Lifecycle } from '../../../shared/lifecycle.ts';
import { createLog } from '../../../shared/log.ts';
import type { NewJob } from '../../../shared/queue/admit.ts';
import { createEntrance } from '../../../shared/queue/entrance.ts';
import { readSharedClock } from '../../../shared/queue/shared-clock.ts';
import { livingWorkers } from '../../../shared/queue/workers.ts';
import { aSpec } from '../../worker/spec.ts';
import { Connection, type Server } from './connection.ts';
import type { Host } from './engine.ts';
import type { Mortal } from './wire.ts';

const DRAIN_MS = 5_000;
const INSTALLATION = 'here';
const log = createLog('silent');

export interface WorkerProcess {
  readonly lifecycle: Lifecycle;
  /** Uids that are in use, each by one sandbox. */
  readonly uidsTaken: ReadonlySet<number>;
  readonly pool: Pool;
}

export async function startWorker(
  mortal: Mortal,
  { server, host, slots }: { server: Server; host: Host; slots: number },
): Promise<WorkerProcess> {
  const { name } = mortal;
  const lifecycle = createLifecycle({ drainMs: DRAIN_MS, log });
  const redis = new Connection(server, mortal);
  const subscriber = new Connection(server, mortal);
  lifecycle.own('redis', redis, () => redis.disconnect());
  lifecycle.own('subscriber', subscriber, () => subscriber.disconnect());
  const clock = await readSharedClock(redis.asRedis());
  const { uids, taken } = countedUids();
  const bare = host.engineOf(mortal, INSTALLATION);
  const watch = new EngineWatch({ engine: bare, log });
  watch.start();
  lifecycle.own('engine watch', watch, () => watch.stop());
  const engine = guarded(bare, watch);
  const gate = createGate(2);
  let pause: (areUnwelcome: boolean) => void = () => {};
  const stock = new Pool({
    engine,
    watch,
    gate,
    clock,
    remover: createRemover({ engine, gate, uids, log }),
    uids,
    target: 1,
    maxReady: 1,
    firstShape: shapeOf(aSpec()),
    maxAgeMs: 600_000,
    maxLifeMs: 600_000,
    log,
    onJobsUnwelcome: (areUnwelcome) => pause(areUnwelcome),
  });
  const sweep = createSweep({
    engine,
    gate,
    clock,
    worker: name,
    installation: INSTALLATION,
    owns: (nonce) => stock.owns(nonce),
    livingOf: (ids) => livingWorkers(redis.asRedis(), ids),
    onSwept: () => {},
    log,
  });
  const pool = new Groups({ pool: stock, slots, log });
  lifecycle.own('pool', pool, () => pool.stop());
  const entrance = createEntrance({ redis: redis.asRedis(), log });
  entrance.start();
  lifecycle.own('entrance', entrance, () => entrance.stop());
  const live = new LiveOutputs({ redis: redis.asRedis(), log });
  const attempts = new Attempts({
    redis: redis.asRedis(),
    clock,
    worker: name,
    streamBytes: 1000,
    leases: pool,
    blobs: { bytes: 0, contentsOf: async () => new Map() },
    release: entrance.release,
    log,
    live,
    isGenuine: () => true,
    offers: () => true,
    onDone: () => {},
  });
  const presence = createPresence({
    redis: redis.asRedis(),
    clock,
    subscriber: subscriber.asRedis(),
    worker: name,
    account: () => ({
      id: name,
      host: 'host',
      slots,
      running: 0,
      ready: 0,
      creating: 0,
      engineFailing: false,
      isSilent: false,
      quarantined: 0,
      runtimes: ['runc'],
      images: {},
    }),
    runningIds: () => attempts.runningIds(),
    cancel: ({ id, by }) => attempts.end(id, { kind: 'cancelled', by }),
    follow: (id) => live.follow(id),
    log,
  });
  lifecycle.own('presence', presence, () => presence.stop());
  await presence.start();
  pool.start();
  const consumer = createConsumer({
    redis: redis.asRedis(),
    clock,
    slots,
    reservedSlots: 0,
    drainMs: DRAIN_MS,
    attempts,
    log,
  });
  lifecycle.own('consumer', consumer, () => consumer.stop());
  pause = consumer.pause;
  sweep.start();
  lifecycle.own('sweep', sweep, () => sweep.stop());
  return { lifecycle, uidsTaken: taken, pool: stock };
}

function countedUids(): { uids: Uids; taken: ReadonlySet<number> } {
  const uids = createUids(200_000);
  const taken = new Set<number>();
  return {
    taken,
    uids: {
      take() {
        const uid = uids.take();
        taken.add(uid);
        return uid;
      },
      release(uid) {
        uids.release(uid);
        taken.delete(uid);
      },
    },
  };
}

export interface ApiProcess {
  readonly lifecycle: Lifecycle;
  readonly admit: Admit;
  readonly jobs: Jobs;
}

/** `jobOf`: what the policy makes of a request; no policy is simulated. */
export function startApi(
  mortal: Mortal,
  { server, jobOf }: { server: Server; jobOf: (id: string, request: object) => NewJob },
): ApiProcess {
  const lifecycle = createLifecycle({ drainMs: DRAIN_MS, log });
  const redis = new Connection(server, mortal);
  lifecycle.own('redis', redis, () => redis.disconnect());
  const entrance = createEntrance({ redis: redis.asRedis(), log });
  entrance.start();
  lifecycle.own('entrance', entrance, () => entrance.stop());
  const canceller = createCanceller({ redis: redis.asRedis(), entrance, log });
  const sweeper = createSweeper({ redis: redis.asRedis(), entrance, canceller, log });
  sweeper.start();
  lifecycle.own('sweeper', sweeper, () => sweeper.stop());
  const permission = {
    judge: async ({ jobId, args }: { jobId: string; args: object }) => jobOf(jobId, args),
    grant: async (jobs: readonly NewJob[]) => jobs.map((job) => ({ job, holds: [] })),
    withdraw: () => {},
    announce: () => {},
  } as unknown as Permission;
  const admit = createAdmit({
    redis: redis.asRedis(),
    entrance,
    permission,
    pressure: { require: () => {}, start: () => {}, stop: () => {} },
    limits: { expiresInMs: { ceiling: 0 }, retainMs: { ceiling: 0 } } as never,
    tenants: { get: () => ({ weight: 1, maxOpenJobs: 100, maxRunningJobs: null }) as never },
    maxOpenJobs: 1000,
    onAccepted: () => {},
    log,
  });
  const jobs = createJobs({ redis: redis.asRedis(), entrance, results: {} as Results });
  return { lifecycle, admit, jobs };
}
