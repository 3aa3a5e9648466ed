/** The workers that live, as they last said themselves. */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { keys } from './keys.ts';
import { HEARTBEAT_TTL_MS } from './options.ts';
import { offerRuntimes } from './runtimes.ts';
import { readSharedClock } from './shared-clock.ts';

const workerAccount = z.object({
  id: z.string(),
  host: z.string(),
  slots: z.number(),
  running: z.number(),
  ready: z.number(),
  creating: z.number(),
  engineFailing: z.boolean(),
  /** Those that a canary proved. */
  runtimes: z.array(z.string()).default([]),
  /** Jobs wait and it is given none; one of an older version does not say. */
  isSilent: z.boolean().default(false),
  /** Sandboxes that it could not remove so far. */
  quarantined: z.number().default(0),
  /** Image → its digest, or why it cannot be used. */
  images: z.record(
    z.string(),
    z.object({ digest: z.string().optional(), fault: z.string().optional() }),
  ),
});

/** What stands under a worker's key; anything else there is no worker's. */
const accountText = z
  .string()
  .transform((text, context) => {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      context.addIssue({ code: 'custom', message: 'expected JSON' });
      return z.NEVER;
    }
  })
  .pipe(workerAccount);

export type WorkerAccount = z.infer<typeof workerAccount>;

/** The name of everything that shares this Redis; the first worker makes it. */
export async function readInstallation(redis: Redis): Promise<string> {
  await redis.setnx(keys.installation(), randomUUID());
  return (await redis.get(keys.installation())) ?? '';
}

/** A worker that was silent for so long is not listed any more. */
const FORGET_AFTER_MS = 10 * HEARTBEAT_TTL_MS;

/** A worker's heartbeat: what it has now, and which runtimes it offers. */
export async function announceWorker(
  redis: Redis,
  account: WorkerAccount,
  nowMs: number,
): Promise<void> {
  await offerRuntimes(redis, account.runtimes);
  await redis
    .pipeline()
    .set(keys.worker(account.id), JSON.stringify(account), 'PX', HEARTBEAT_TTL_MS)
    .zadd(keys.workers(), nowMs, account.id)
    .zremrangebyscore(keys.workers(), '-inf', nowMs - FORGET_AFTER_MS)
    .exec();
}

/** Those of these workers whose heartbeat is still there. */
export async function livingWorkers(
  redis: Redis,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const accounts = await redis.mget(ids.map(keys.worker));
  return new Set(ids.filter((_, index) => accounts[index] !== null));
}

export async function readWorkers(redis: Redis): Promise<WorkerAccount[]> {
  // By the clock that they were listed by.
  const clock = await readSharedClock(redis);
  const ids = await redis.zrangebyscore(keys.workers(), clock.nowMs() - HEARTBEAT_TTL_MS, '+inf');
  if (ids.length === 0) return [];
  const accounts = await redis.mget(ids.map(keys.worker));
  return accounts.flatMap((text) => {
    if (text === null) return [];
    const parsed = accountText.safeParse(text);
    return parsed.success ? [parsed.data] : [];
  });
}
