/** The API's side of batches over a real Redis, with one tenant's bounds and nothing else refusing. */

import type { Redis } from 'ioredis';
import { createAdmit } from '../../services/api/admit.ts';
import { createParking } from '../../services/api/approvals/park.ts';
import { createUpload, type Upload } from '../../services/api/batch-upload.ts';
import { createBlobs } from '../../services/api/blobs.ts';
import { createCanceller } from '../../services/api/canceller.ts';
import { createPermission } from '../../services/api/permission.ts';
import { defaultPolicy } from '../../services/api/policy/default-policy.ts';
import { createPolicy } from '../../services/api/policy/engine.ts';
import type { Policy } from '../../services/api/policy/policy.ts';
import type { Pressure } from '../../services/api/pressure.ts';
import { createRuntimeOffer } from '../../services/api/runtimes.ts';
import { parseSettings } from '../../shared/config/settings.ts';
import { readCatalogue } from '../../shared/images.ts';
import { createEntrance } from '../../shared/queue/entrance.ts';
import { createSigner } from '../../shared/queue/signature.ts';
import { silent } from '../shared/queue/redis.ts';
import { callerOfTenant } from './caller.ts';

export const caller = callerOfTenant('default');

const calm: Pressure = { require: () => {}, start: () => {}, stop: () => {} };

export interface BatchPartsOptions {
  readonly maxOpenJobs?: number;
  readonly maxTenantOpenJobs?: number;
  readonly pressure?: Pressure;
  readonly policy?: Policy;
}

export function createBatchParts(redis: Redis, options: BatchPartsOptions = {}) {
  const { maxOpenJobs = 100_000, maxTenantOpenJobs = 100_000, pressure = calm } = options;
  const { policy = defaultPolicy() } = options;
  const { limits, runtimes } = parseSettings({});
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
  const permission = createPermission({
    policy: createPolicy({ redis, inForce: () => policy, onDecisions: () => {}, log: silent }),
    parking: createParking({
      redis,
      maxExpiresInMs: limits.expiresInMs.ceiling,
      notify: () => {},
      log: silent,
    }),
    sign: createSigner([]),
    blobs: createBlobs({ redis, ttlMs: 3_600_000, quotaOf: () => 1_000_000 }),
    acceptCallback: () => null,
    runtimes: createRuntimeOffer({ redis, default: runtimes.default }),
    rules: { limits, runtimes, defaultImage: 'base', catalogue: new Map(readCatalogue(undefined)) },
  });
  const admit = createAdmit({
    redis,
    entrance,
    permission,
    pressure,
    limits,
    tenants: new Map([[caller.tenant, tenant]]),
    maxOpenJobs,
    onAccepted,
    log: silent,
  });
  const uploadBatch = createUpload({
    redis,
    admit,
    permission,
    acceptCallback: () => null,
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
    permission,
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
