/** The only road into the queue: request → spec → record → queue. The record comes first; a sweep mends what follows. */
import { createHash, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { JobRequest } from '../../shared/contract/request.ts';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { admissionReloads, admitJob } from '../../shared/queue/admit.ts';
import type { Caller } from './auth.ts';
import type { Entrance } from './entrance.ts';
import { type Rules, resolve } from './policy/resolve.ts';

/** Beside its own time, what one start takes at most: making a sandbox, reporting, settling. */
const START_OVERHEAD_MS = 120_000;
const RETRY_AFTER_SECONDS = 5;

export interface Submission {
  /** From newJobId: made by whoever waits, before anything can be answered to it. */
  readonly id: string;
  readonly caller: Caller;
  readonly request: JobRequest;
  readonly idempotencyKey: string | undefined;
  /** The API process that waits for the result, '' when none does. */
  readonly replyTo: string;
}

export interface Accepted {
  readonly id: string;
  /** The id of an earlier request with the same Idempotency-Key. */
  readonly isRepeated: boolean;
}

export type Admit = (submission: Submission) => Promise<Accepted>;

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** 128 random bits: not to be guessed. Neither ':' nor digits alone, which the queue refuses. */
export const newJobId = (): string => `job_${randomBytes(16).toString('hex')}`;

export function createAdmit(options: {
  redis: Redis;
  entrance: Entrance;
  rules: Rules;
  maxOpenJobs: number;
  onAccepted: () => void;
  log: Log;
}): Admit {
  const { redis, entrance, rules, log } = options;
  let fullUntilMs = 0;
  return async ({ id, caller, request, idempotencyKey, replyTo }) => {
    const { spec, expiresInMs, retainMs } = resolve(request, rules);
    const acceptedAtMs = Date.now();
    const reloads = admissionReloads();
    const recorded = admitJob(redis, {
      id,
      tenant: caller.tenant,
      spec: JSON.stringify(spec),
      image: spec.image,
      runtime: spec.runtime,
      labels: request.labels ?? {},
      acceptedAtMs,
      expiresAtMs: acceptedAtMs + expiresInMs,
      retainMs,
      budgetMs: spec.timeoutMs + START_OVERHEAD_MS,
      replyTo,
      idempotency:
        idempotencyKey === undefined
          ? null
          : { key: sha256(idempotencyKey), body: sha256(JSON.stringify(request)) },
      maxOpenJobs: options.maxOpenJobs,
      forgetBeforeMs:
        acceptedAtMs - rules.limits.expiresInMs.ceiling - rules.limits.retainMs.ceiling,
    });
    // On one connection the record is written first. Where nothing will refuse it, the way into the queue goes right
    // behind, and one flush brings both to disk; should it be refused all the same, a worker ignores the bare id.
    const isSure = idempotencyKey === undefined && acceptedAtMs > fullUntilMs;
    const early = isSure ? entrance.add(id) : undefined;
    early?.catch(() => {});
    const admitted = await recorded;
    switch (admitted.kind) {
      case 'repeated':
        return { id: admitted.id, isRepeated: true };
      case 'key_reused':
        throw new AppError('IDEMPOTENCY_KEY_REUSED', { field: 'Idempotency-Key' });
      case 'full':
        fullUntilMs = Date.now() + RETRY_AFTER_SECONDS * 1000;
        throw new AppError('QUEUE_FULL', { retryAfterSeconds: RETRY_AFTER_SECONDS });
      case 'accepted':
        break;
      default:
        admitted satisfies never;
    }
    // From here on the job is accepted: a failure only delays it, until the sweep puts it into the queue.
    try {
      await (early ?? entrance.add(id));
      // Where the record came second, a worker may have dropped the bare id: the mark stays, and the sweep mends it.
      if (early === undefined || admissionReloads() === reloads) entrance.entered(id);
    } catch (error) {
      log.warn({ err: error, job: id }, 'left to the sweep: not enqueued');
    }
    options.onAccepted();
    return { id, isRepeated: false };
  };
}
