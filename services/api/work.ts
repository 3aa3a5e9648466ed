/** Everything on the way of a job into the queue, and what mends it. */
import type { Redis } from 'ioredis';
import type { Catalogue } from '../../shared/images.ts';
import { createEntrance } from '../../shared/queue/entrance.ts';
import { keys } from '../../shared/queue/keys.ts';
import { createAdmit } from './admit.ts';
import type { ApiParts } from './api-parts.ts';
import { createUpload } from './batch-upload.ts';
import { createBlobs } from './blobs.ts';
import type { Callbacks } from './callbacks/start.ts';
import { createCanceller } from './canceller.ts';
import { startGovernance } from './governance.ts';
import { createPressure } from './pressure.ts';
import { createSweeper } from './sweeper.ts';
import type { LiveTenants } from './tenants.ts';

export interface WorkParts {
  readonly redis: Redis;
  readonly catalogue: Catalogue;
  readonly tenants: LiveTenants;
  readonly callbacks: Callbacks;
}

export async function startWork(parts: ApiParts, made: WorkParts) {
  const { settings, lifecycle, metrics, log } = parts;
  const { redis, catalogue, tenants, callbacks } = made;
  const { limits, defaultImage, runtimes, maxOpenJobs } = settings;
  const entrance = createEntrance({ redis, log });
  entrance.start();
  lifecycle.own('entrance', entrance, () => entrance.stop());
  const canceller = createCanceller({ redis, entrance, log });
  lifecycle.own('canceller', canceller, () => canceller.stop());
  const pressure = createPressure({ redis, settings, metrics, log });
  pressure.start();
  lifecycle.own('pressure', pressure, () => pressure.stop());

  const { ttlMs, quotaBytes } = settings.blobs;
  const quotaOf = (tenant: string) => tenants.get(tenant)?.maxBlobBytes ?? quotaBytes;
  const blobs = createBlobs({ redis, ttlMs, quotaOf });
  const rules = { limits, defaultImage, runtimes, catalogue };
  const governance = await startGovernance(parts, { redis, entrance, blobs, callbacks, rules });
  const { permission, parking, onExpired } = governance;
  const { announceForgotten } = parking;
  const sweeper = createSweeper({ redis, entrance, canceller, announceForgotten, onExpired, log });
  sweeper.start();
  lifecycle.own('sweeper', sweeper, () => sweeper.stop());

  const onAccepted = metrics.counter('jobs_accepted_total', 'Jobs accepted.', []);
  metrics.gauge('open_jobs', 'Jobs waiting or running.', [], async (set) => {
    set(await redis.zcard(keys.open()).catch(() => Number.NaN));
  });
  const common = { redis, entrance, pressure, permission, limits, maxOpenJobs, onAccepted, log };
  const admit = createAdmit({ ...common, tenants });
  const upload = createUpload({
    ...common,
    admit,
    canceller,
    acceptCallback: callbacks.accept,
  });
  return { entrance, canceller, blobs, admit, upload, governance };
}
