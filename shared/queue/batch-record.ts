/**
 * One batch in Redis: its options, how many jobs it has and what became of them. Its jobs are records like any other,
 * with `batch`, `index` and perhaps `key`; here are the list of their ids, the list of those that ended, and counters
 * that each start and each end moves within its own Lua call.
 *
 *     open ── seal ──► running ── the last job ends ──► done
 *       │                 │
 *       └──── stop ───────┴──► cancelled
 *
 * `released` counts the jobs that were let into the queue, in the order of the list, `out` those of them that have not
 * ended; `window` is how many may be. `stopping` is there once the batch was cancelled: from then on no job of it
 * starts, and those that wait are settled one after another.
 */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import {
  type BatchState,
  type BatchView,
  OUTCOME_COUNTS,
  type OutcomeCount,
} from '../contract/batch.ts';
import { DUE_CALLBACK } from './due-callback.ts';
import { keys, PREFIX } from './keys.ts';
import { defineScript } from './script.ts';

const number = z.coerce.number();

const batchRecord = z.object({
  tenant: z.string(),
  createdAt: number,
  total: number,
  done: number,
  running: number.default(0),
  options: z.string(),
  sealed: z.string().optional(),
  stopping: z.string().optional(),
});

export interface Batch {
  readonly tenant: string;
  /** As the caller gave them, as JSON. */
  readonly options: string;
  readonly isSealed: boolean;
  readonly view: BatchView;
}

/** Undefined where there is none. */
export async function readBatch(redis: Redis, id: string): Promise<Batch | undefined> {
  const fields = await redis.hgetall(keys.batch(id));
  if (fields.tenant === undefined) return undefined;
  const record = batchRecord.parse(fields);
  const { total, done, running } = record;
  const isSealed = record.sealed !== undefined;
  const outcomes = Object.fromEntries(
    OUTCOME_COUNTS.map((name) => [name, Number(fields[`of:${name}`] ?? 0)]),
  ) as Record<OutcomeCount, number>;
  return {
    tenant: record.tenant,
    options: record.options,
    isSealed,
    view: {
      id,
      state: stateOf({ isSealed, isStopping: record.stopping !== undefined, total, done }),
      counts: { total, queued: Math.max(0, total - done - running), running, done },
      outcomes,
      createdAt: new Date(record.createdAt).toISOString(),
    },
  };
}

function stateOf(batch: {
  isSealed: boolean;
  isStopping: boolean;
  total: number;
  done: number;
}): BatchState {
  if (batch.isStopping) return 'cancelled';
  if (!batch.isSealed) return 'open';
  return batch.done === batch.total ? 'done' : 'running';
}

/** Whether nothing of it will change any more. */
export const isOver = ({ isSealed, view: { state, counts } }: Batch): boolean =>
  state === 'done' || (isSealed && counts.done === counts.total);

/* KEYS batch, open batches, idempotency (or the batch again, when there is none) */
const CREATE = defineScript(`
  local id, now, digest, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
  if digest ~= '' then
    local known = redis.call('HMGET', KEYS[3], 'id', 'body')
    if known[1] and known[2] ~= digest then return {'key_reused'} end
    if known[1] then
      if redis.call('EXISTS', ARGV[5] .. ':batch:' .. known[1]) == 1 then return {'repeated', known[1]} end
    end
    redis.call('HSET', KEYS[3], 'id', id, 'body', digest)
    redis.call('PEXPIRE', KEYS[3], ttl)
  end
  redis.call('HSET', KEYS[1], 'tenant', ARGV[6], 'createdAt', now, 'options', ARGV[7], 'window', ARGV[8],
    'retainMs', ARGV[9], 'total', 0, 'done', 0, 'running', 0, 'out', 0, 'released', 0)
  if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'stopOnFirstFailure', 1) end
  if ARGV[11] ~= '' then redis.call('HSET', KEYS[1], 'callback', ARGV[11]) end
  redis.call('ZADD', KEYS[2], now, id)
  return {'created', id}
`);

export interface NewBatch {
  readonly id: string;
  readonly tenant: string;
  readonly options: string;
  readonly window: number;
  readonly stopOnFirstFailure: boolean;
  /** Where its end is sent to, as callbackField makes it. */
  readonly callback?: string | null;
  readonly retainMs: number;
  /** Digests of the caller's key and of what must be the same when it is sent again. */
  readonly idempotency: { readonly key: string; readonly body: string } | null;
  readonly idempotencyMs: number;
}

export type BatchCreated =
  | { readonly kind: 'created' | 'repeated'; readonly id: string }
  | { readonly kind: 'key_reused' };

export async function createBatch(redis: Redis, batch: NewBatch): Promise<BatchCreated> {
  const { id, tenant, idempotency } = batch;
  const [kind, known] = (await CREATE.run(
    redis,
    [
      keys.batch(id),
      keys.openBatches(),
      idempotency ? keys.idempotency(tenant, idempotency.key) : keys.batch(id),
    ],
    [
      id,
      Date.now(),
      idempotency?.body ?? '',
      batch.idempotencyMs,
      PREFIX,
      tenant,
      batch.options,
      batch.window,
      batch.retainMs,
      batch.stopOnFirstFailure ? 1 : '',
      batch.callback ?? '',
    ],
  )) as [BatchCreated['kind'], string];
  return kind === 'key_reused' ? { kind } : { kind, id: known };
}

/* KEYS batch, open batches */
const SEAL = defineScript(`${DUE_CALLBACK}
  local known = redis.call('HMGET', KEYS[1], 'total', 'done', 'retainMs', 'sealed')
  if not known[1] or known[4] then return 0 end
  redis.call('HSET', KEYS[1], 'sealed', 1)
  redis.call('ZREM', KEYS[2], ARGV[1])
  if known[1] == known[2] then
    redis.call('HSET', KEYS[1], 'finishedAt', ARGV[2])
    for _, suffix in ipairs({'', ':jobs', ':done', ':approved'}) do
      redis.call('PEXPIRE', KEYS[1] .. suffix, known[3])
    end
    due_batch_callback(ARGV[3], KEYS[1], ARGV[1], ARGV[2])
  end
  return 1
`);

/** Its upload has ended: it takes no more jobs, and is done when they are. */
export const sealBatch = (redis: Redis, id: string): Promise<unknown> =>
  SEAL.run(redis, [keys.batch(id), keys.openBatches()], [id, Date.now(), PREFIX]);

/* KEYS batch, stopping batches */
const STOP = defineScript(`
  if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
  local known = redis.call('HMGET', KEYS[1], 'total', 'done', 'sealed')
  if known[3] and known[1] == known[2] then return 0 end
  redis.call('HSET', KEYS[1], 'stopping', 1)
  redis.call('SADD', KEYS[2], ARGV[1])
  return 1
`);

/** From here on none of its jobs starts; those that wait or run are for whoever empties `stoppingBatches`. */
export async function stopBatch(redis: Redis, id: string): Promise<boolean> {
  return (await STOP.run(redis, [keys.batch(id), keys.stoppingBatches()], [id])) === 1;
}
