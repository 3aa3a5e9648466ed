/** Batches as the queue's functions take them, with what a test does not care about filled in. */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import {
  admitBatchJobs,
  type BatchAdmitted,
  type BatchJob,
} from '../../../shared/queue/admit-batch.ts';
import { createBatch, type NewBatch } from '../../../shared/queue/batch-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { type Settled, settleJob } from '../../../shared/queue/settle.ts';
import { begin, newId, settlement } from './job.ts';

export const newBatchId = (): string => `bat_${randomBytes(16).toString('hex')}`;

export const aBatch = (over: Partial<NewBatch> = {}): NewBatch => ({
  id: newBatchId(),
  tenant: 'default',
  options: '{}',
  window: 4,
  stopOnFirstFailure: false,
  retainMs: 60_000,
  idempotency: null,
  idempotencyMs: 60_000,
  ...over,
});

/** Creates a batch and returns its id. */
export async function created(redis: Redis, over: Partial<NewBatch> = {}): Promise<string> {
  const reply = await createBatch(redis, aBatch(over));
  if (reply.kind !== 'created') throw new Error(`not created: ${reply.kind}`);
  return reply.id;
}

export const batchJob = (index: number, over: Partial<BatchJob> = {}): BatchJob => ({
  id: newId(),
  index,
  key: null,
  digest: 'd',
  lane: 'bulk',
  spec: '{"a":1}',
  image: 'base',
  runtime: 'runc',
  labels: {},
  expiresAtMs: Date.now() + 60_000,
  retainMs: 60_000,
  budgetMs: 30_000,
  ...over,
});

export const batchJobs = (count: number, from = 0): BatchJob[] =>
  Array.from({ length: count }, (_, at) => batchJob(from + at));

type Bounds = Partial<Omit<Parameters<typeof admitBatchJobs>[1], 'batch' | 'jobs'>>;

export const sendJobs = (
  redis: Redis,
  batch: string,
  jobs: readonly BatchJob[],
  over: Bounds = {},
): Promise<BatchAdmitted> =>
  admitBatchJobs(redis, {
    batch,
    tenant: 'default',
    share: { cost: 1, maxOpenJobs: 100_000, maxRunningJobs: null },
    acceptedAtMs: Date.now(),
    maxOpenJobs: 100_000,
    jobs,
    ...over,
  });

/** Sends jobs that must be accepted, and returns the ids that may enter the queue. */
export async function released(
  redis: Redis,
  batch: string,
  jobs: readonly BatchJob[],
  over: Bounds = {},
): Promise<string[]> {
  const reply = await sendJobs(redis, batch, jobs, over);
  if (reply.kind !== 'accepted') throw new Error(`not accepted: ${reply.kind}`);
  return reply.released.map(({ id }) => id);
}

/** Begins a job and ends it; what its end lets into the queue. */
export async function runToEnd(redis: Redis, id: string, exitCode = 0): Promise<Settled> {
  const reply = await begin(redis, id);
  if (reply.kind !== 'started') throw new Error(`not started: ${reply.kind}`);
  return settleJob(redis, settlement(id, reply.start, { outcome: { kind: 'exited', exitCode } }));
}

/** Settles a job that waits, as a cancellation does. */
export const cancelQueued = (redis: Redis, id: string): Promise<Settled> =>
  settleJob(
    redis,
    settlement(id, null, { from: 'queued', outcome: { kind: 'cancelled', by: 'caller' } }),
  );

export const idsOf = ({ released: entries }: Pick<Settled, 'released'>): string[] =>
  entries.map(({ id }) => id);

/** The figures of a batch that its view does not show. */
export async function windowOf(redis: Redis, batch: string): Promise<Record<string, number>> {
  const [out, released, running] = await redis.hmget(
    keys.batch(batch),
    'out',
    'released',
    'running',
  );
  return { out: Number(out), released: Number(released), running: Number(running) };
}
