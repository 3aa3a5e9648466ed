/** Refuses what no worker could run, before it is accepted: a job never gets another runtime than it was promised. */
import type { Redis } from 'ioredis';
import { AppError } from '../../shared/errors.ts';
import { isOffered } from '../../shared/queue/runtimes.ts';
import type { Runtime } from '../../shared/runtimes.ts';

/** For so long a runtime that was on offer is not asked about again. */
const KNOWN_MS = 5_000;

export interface RuntimeOffer {
  /** Throws an AppError when no worker offers it, or lately did. */
  require(runtime: Runtime): Promise<void>;
}

export function createRuntimeOffer(options: { redis: Redis; default: Runtime }): RuntimeOffer {
  const known = new Map<Runtime, number>();
  return {
    async require(runtime) {
      // The operator's own choice: its jobs wait for the first worker.
      if (runtime === options.default || Date.now() < (known.get(runtime) ?? 0)) return;
      if (!(await isOffered(options.redis, runtime))) {
        const detail = `no worker offers ${runtime}`;
        throw new AppError('RUNTIME_UNAVAILABLE', { field: 'runtime', detail });
      }
      known.set(runtime, Date.now() + KNOWN_MS);
    },
  };
}
