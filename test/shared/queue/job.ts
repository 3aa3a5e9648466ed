/** A job as the queue's functions take it, with what a test does not care about filled in. */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Outcome } from '../../../shared/contract/result.ts';
import { type Admission, type Admitted, admitJob } from '../../../shared/queue/admit.ts';
import { type Begun, beginJob, type Held } from '../../../shared/queue/begin.ts';
import { lockKey } from '../../../shared/queue/options.ts';
import { type SettledAs, type Settlement, settleJob } from '../../../shared/queue/settle.ts';

export const newId = (): string => `job_${randomBytes(16).toString('hex')}`;

export const admission = (over: Partial<Admission> = {}): Admission => ({
  id: newId(),
  tenant: 'default',
  lane: 'interactive',
  share: { cost: 1, maxOpenJobs: 100_000, maxRunningJobs: null },
  spec: '{"a":1}',
  image: 'base',
  runtime: 'runc',
  labels: {},
  acceptedAtMs: Date.now(),
  expiresAtMs: Date.now() + 60_000,
  retainMs: 60_000,
  replyTo: '',
  budgetMs: 30_000,
  idempotency: null,
  maxOpenJobs: 100_000,
  forgetBeforeMs: 0,
  ...over,
});

/** Admits a job and returns its id. */
export async function admitted(redis: Redis, over: Partial<Admission> = {}): Promise<string> {
  const job = admission(over);
  const reply: Admitted = await admitJob(redis, job);
  if (reply.kind !== 'accepted') throw new Error(`not accepted: ${reply.kind}`);
  return job.id;
}

/** Takes a job as the queue does, and says by what it is held. */
export async function hold(redis: Redis, id: string): Promise<Held> {
  const held = { lane: 'interactive', token: 'lock' } as const;
  await redis.set(lockKey(held.lane, id), held.token);
  return held;
}

export async function begin(
  redis: Redis,
  id: string,
  worker = 'w1',
  nowMs = Date.now(),
): Promise<Begun> {
  return beginJob(redis, { id, worker, nowMs, held: await hold(redis, id) });
}

/** Begins a job and returns the number of its start. */
export async function begun(redis: Redis, id: string, worker = 'w1'): Promise<number> {
  const reply = await begin(redis, id, worker);
  if (reply.kind !== 'started') throw new Error(`not started: ${reply.kind}`);
  return reply.start;
}

export const EXITED: Outcome = { kind: 'exited', exitCode: 0 };

export const settlement = (
  id: string,
  start: number | null,
  over: Partial<Settlement> = {},
): Settlement => ({
  id,
  start,
  result: JSON.stringify({ id, by: start }),
  outcome: EXITED,
  finishedAtMs: Date.now(),
  retainMs: 60_000,
  ...over,
});

export const settle = (
  redis: Redis,
  id: string,
  start: number | null,
  over: Partial<Settlement> = {},
): Promise<SettledAs> => settleJob(redis, settlement(id, start, over)).then(({ as }) => as);
