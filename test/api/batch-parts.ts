/** The API's side of batches over a real Redis, with one tenant's bounds and nothing else refusing. */

import type { Redis } from 'ioredis';
import { createAdmit } from '../../services/api/admit.ts';
import { createUpload, type Upload } from '../../services/api/batch-upload.ts';
import { createBlobs } from '../../services/api/blobs.ts';
import { createCanceller } from '../../services/api/canceller.ts';
import type { Pressure } from '../../services/api/pressure.ts';
import { parseSettings } from '../../shared/config/settings.ts';
import { readCatalogue } from '../../shared/images.ts';
import { createEntrance } from '../../shared/queue/entrance.ts';
import { silent } from '../shared/queue/redis.ts';
import { callerOfTenant } from './caller.ts';

export const caller = callerOfTenant('default');

const calm: Pressure = { require: () => {}, start: () => {}, stop: () => {} };

export interface BatchPartsOptions {
  readonly maxOpenJobs?: number;
  readonly maxTenantOpenJobs?: number;
  readonly pressure?: Pressure;
}

export function createBatchParts(redis: Redis, options: BatchPartsOptions = {}) {
  const { maxOpenJobs = 100_000, maxTenantOpenJobs = 100_000, pressure = calm } = options;
  const { limits } = parseSettings({});
  const entrance = createEntrance({ redis, log: silent });
  const canceller = createCanceller({ redis, entrance, log: silent });
  const tenant = {
    name: caller.tenant,
    keys: [],
    weight: 1,
    maxOpenJobs: maxTenantOpenJobs,
    maxRunningJobs: null,
  };
  const accepted = { jobs: 0 };
  const onAccepted = (jobs: number): void => {
    accepted.jobs += jobs;
  };
  const admit = createAdmit({
    redis,
    entrance,
    blobs: createBlobs({ redis, ttlMs: 3_600_000, quotaBytes: 1_000_000 }),
    pressure,
    rules: { limits, defaultImage: 'base', catalogue: new Map(readCatalogue(undefined)) },
    tenants: new Map([[caller.tenant, tenant]]),
    maxOpenJobs,
    onAccepted,
    log: silent,
  });
  const uploadBatch = createUpload({
    redis,
    admit,
    entrance,
    canceller,
    pressure,
    maxOpenJobs,
    limits,
    onAccepted,
    log: silent,
  });
  return {
    admit,
    entrance,
    canceller,
    accepted,
    upload: (texts: Upload['jobs'], over: Partial<Upload> = {}) =>
      uploadBatch({
        caller,
        options: {},
        idempotencyKey: undefined,
        sameness: JSON.stringify(over.options ?? {}),
        jobs: texts,
        isWhole: false,
        ...over,
      }),
    async stop(): Promise<void> {
      await canceller.stop();
      await entrance.stop();
    },
  };
}

/** Jobs as lines of an upload. */
export const linesOf = (
  jobs: readonly unknown[],
): { line: number; index: number; text: string }[] =>
  jobs.map((job, index) => ({
    line: index + 1,
    index,
    text: typeof job === 'string' ? job : JSON.stringify(job),
  }));

export const commands = (count: number): { command: string[] }[] =>
  Array.from({ length: count }, (_, at) => ({ command: ['echo', String(at)] }));
