/** Which runtimes workers offer, as they last said. */
import type { Redis } from 'ioredis';
import { keys } from './keys.ts';

/** A runtime that nobody has offered for so long is not waited for any more. */
const REMEMBERED_MS = 24 * 3_600_000;

/** Said again with every heartbeat. */
export async function offerRuntimes(redis: Redis, runtimes: readonly string[]): Promise<void> {
  if (runtimes.length === 0) return;
  await redis.zadd(keys.runtimes(), ...runtimes.flatMap((runtime) => [Date.now(), runtime]));
}

/** Whether a worker offers it or lately did: then a job that asks for it waits its turn. */
export async function isOffered(redis: Redis, runtime: string): Promise<boolean> {
  const offeredAtMs = await redis.zscore(keys.runtimes(), runtime);
  return offeredAtMs !== null && Number(offeredAtMs) > Date.now() - REMEMBERED_MS;
}
