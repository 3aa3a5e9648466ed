/**
 * Jobs of a batch on their way in: a stream of any length through a bounded number of records in memory. While one chunk
 * goes to Redis the next is judged. What was sent before, under the same Idempotency-Key, is there already and stays as
 * it is, so that a cut upload is simply sent again.
 */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Settings } from '../../shared/config/settings.ts';
import type { BatchAccepted, BatchOptions } from '../../shared/contract/batch.ts';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { milestone } from '../../shared/milestones.ts';
import { admitBatchJobs, findAdmitted } from '../../shared/queue/admit-batch.ts';
import { createBatch, readBatch, sealBatch, stopBatch } from '../../shared/queue/batch-record.ts';
import type { Entrance } from '../../shared/queue/entrance.ts';
import { BATCH_WINDOW } from '../../shared/queue/options.ts';
import { type Admit, queueFull, sha256, tenantFull } from './admit.ts';
import type { Caller } from './auth.ts';
import { grantLines } from './batch-grant.ts';
import { type JobLine, type JudgedLine, judgeLine } from './batch-job.ts';
import { createRefusals, type Refusals } from './batch-refusals.ts';
import type { AcceptCallback } from './callbacks/target.ts';
import type { Canceller } from './canceller.ts';
import type { Permission } from './permission.ts';
import type { Pressure } from './pressure.ts';

/** Together these go to Redis in one script, all or none. */
export const CHUNK_JOBS = 200;
const CHUNK_BYTES = 1024 * 1024;
const CHUNK_WITHIN_MS = 250;

export interface Upload {
  readonly caller: Caller;
  readonly options: BatchOptions;
  readonly idempotencyKey: string | undefined;
  /** What must be the same when it is sent again under its key, as text. */
  readonly sameness: string;
  readonly jobs: AsyncIterable<JobLine> | Iterable<JobLine>;
  /** Judge all before any is accepted: for jobs that are in memory anyway. */
  readonly isWhole: boolean;
}

export interface UploadParts {
  readonly redis: Redis;
  readonly admit: Pick<Admit, 'shareOf'>;
  readonly permission: Permission;
  readonly acceptCallback: AcceptCallback;
  readonly entrance: Entrance;
  readonly canceller: Canceller;
  readonly pressure: Pressure;
  readonly maxOpenJobs: number;
  readonly limits: Settings['limits'];
  readonly onAccepted: (jobs: number) => void;
  readonly log: Log;
}

export type UploadBatch = (upload: Upload) => Promise<BatchAccepted>;

/** 128 random bits: not to be guessed, and with it no job of the batch. */
const newBatchId = (): string => `bat_${randomBytes(16).toString('hex')}`;

export function createUpload(parts: UploadParts): UploadBatch {
  const { redis, canceller, log } = parts;
  return async (upload) => {
    parts.pressure.require(upload.options.defaults?.lane ?? 'bulk');
    const candidate = newBatchId();
    if (upload.isWhole) await judgeAll(parts, upload, candidate);
    const id = await open(parts, upload, candidate);
    const refused = createRefusals(upload.options);
    try {
      await receive(parts, upload, {
        id,
        isResumed: id !== candidate,
        isWhole: upload.isWhole,
        refused,
      });
      await sealBatch(redis, id);
    } catch (error) {
      // Without a key nothing can ever complete it.
      if (upload.idempotencyKey === undefined) {
        await stopBatch(redis, id);
        canceller
          .cancel(id)
          .catch((cause: unknown) => log.warn({ err: cause }, 'left to the sweep'));
      }
      throw error instanceof AppError ? error.with({ batch: id }) : error;
    }
    const batch = await readBatch(redis, id);
    if (batch === undefined) throw new AppError('NOT_FOUND');
    return { ...batch.view, skipped: refused.count, errors: refused.shown };
  };
}

async function judgeAll(parts: UploadParts, upload: Upload, id: string): Promise<void> {
  const { options, caller, jobs } = upload;
  const refused = createRefusals(options);
  const requireRoom = roomFor(parts.permission, caller);
  for await (const line of jobs) {
    requireRoom();
    await judgeLine(line, { id, options, caller, permission: parts.permission }).catch(refused.add);
  }
}

async function open(parts: UploadParts, upload: Upload, id: string): Promise<string> {
  const { options, idempotencyKey, caller } = upload;
  const { expiresInMs, retainMs } = parts.limits;
  const keptMs = options.defaults?.retainMs ?? retainMs.default ?? retainMs.ceiling;
  const created = await createBatch(parts.redis, {
    id,
    callback: parts.acceptCallback(options.callback),
    tenant: caller.tenant,
    options: JSON.stringify(options),
    window: Math.min(options.maxParallel ?? BATCH_WINDOW, BATCH_WINDOW),
    stopOnFirstFailure: options.stopOnFirstFailure ?? false,
    retainMs: keptMs,
    idempotency:
      idempotencyKey === undefined
        ? null
        : { key: sha256(`batch ${idempotencyKey}`), body: sha256(upload.sameness) },
    idempotencyMs: expiresInMs.ceiling + keptMs,
  });
  if (created.kind === 'key_reused') {
    throw new AppError('IDEMPOTENCY_KEY_REUSED', { field: 'Idempotency-Key' });
  }
  return created.id;
}

async function receive(parts: UploadParts, upload: Upload, batch: Receiving): Promise<void> {
  const { options, caller, jobs } = upload;
  const { id, refused } = batch;
  let chunk: JudgedLine[] = [];
  let bytes = 0;
  let sending: Promise<void> = Promise.resolve();
  /** Resolves when the chunk before this one has arrived: so much is on its way, and no more. */
  const send = (): Promise<void> => {
    const ready = chunk;
    const before = sending;
    chunk = [];
    bytes = 0;
    sending = before.then(() => admitChunk(parts, { ...batch, caller }, ready));
    sending.catch(() => {}); // heard of at the next await
    return before;
  };
  // Jobs of a client that sends few at a time start all the same.
  const timer = setInterval(() => {
    if (chunk.length > 0) send().catch(() => {});
  }, CHUNK_WITHIN_MS);
  const requireRoom = roomFor(parts.permission, caller);
  try {
    for await (const line of jobs) {
      requireRoom();
      const judging = judgeLine(line, { id, options, caller, permission: parts.permission });
      const judged = await judging.catch(refused.add);
      if (judged === undefined) continue;
      chunk.push(judged);
      bytes += judged.candidate.job.spec.length;
      if (chunk.length >= CHUNK_JOBS || bytes >= CHUNK_BYTES) await send();
    }
    if (chunk.length > 0) await send();
    await sending;
  } finally {
    clearInterval(timer);
  }
}

/** To be called before each job: throws where the policy allows no batch of so many. */
function roomFor(permission: Permission, caller: Caller): () => void {
  const most = permission.largestBatch(caller);
  let count = 0;
  return () => {
    if (++count > most) throw permission.batchTooLarge(most);
  };
}

interface Receiving {
  readonly id: string;
  /** Part of it may be here already. */
  readonly isResumed: boolean;
  readonly isWhole: boolean;
  readonly refused: Refusals;
}

async function admitChunk(
  parts: UploadParts,
  { id, caller, isResumed, isWhole, refused }: Receiving & { caller: Caller },
  lines: readonly JudgedLine[],
): Promise<void> {
  const share = parts.admit.shareOf(caller);
  parts.pressure.require('bulk');
  const ids = lines.map(({ candidate }) => candidate.job.id);
  const known = isResumed ? await findAdmitted(parts.redis, ids) : NONE;
  const { entries, end } = await grantLines(parts.permission, lines, { known, isWhole, refused });
  if (entries.length === 0 && end !== undefined) throw end.error;
  const granted = entries.flatMap((entry) => entry.granted ?? []);
  milestone('before_record');
  const admitting = admitBatchJobs(parts.redis, {
    batch: id,
    tenant: caller.tenant,
    share,
    acceptedAtMs: Date.now(),
    maxOpenJobs: parts.maxOpenJobs,
    jobs: entries.map(({ job }) => job),
  });
  milestone('record_sent');
  const admitted = await admitting;
  if (admitted.kind !== 'accepted') parts.permission.withdraw(granted);
  switch (admitted.kind) {
    case 'accepted':
      parts.onAccepted(admitted.added);
      // Sent twice within this upload, or by another one under its key meanwhile.
      parts.permission.withdraw(admitted.known.flatMap((at) => entries[at]?.granted ?? []));
      parts.permission.announce(granted);
      await parts.entrance.release(admitted.released);
      if (end !== undefined) throw end.error;
      return;
    case 'key_reused': {
      const line = lines.find(({ index }) => index === admitted.index)?.line ?? 0;
      const detail = `line ${line}: its key belongs to another job of the batch`;
      throw new AppError('JOB_KEY_REUSED', { detail, field: 'key', line });
    }
    case 'closed':
      throw new AppError('BATCH_CLOSED');
    case 'full':
      throw queueFull();
    case 'tenant_full':
      throw tenantFull(share);
    default:
      admitted satisfies never;
  }
}

const NONE: ReadonlySet<string> = new Set();
