/** The only road into the queue: request → spec → record → queue. The record comes first; a sweep mends what follows. */
import { createHash, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Settings } from '../../shared/config/settings.ts';
import type { JobRequest } from '../../shared/contract/request.ts';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { milestone } from '../../shared/milestones.ts';
import {
  type Admitted,
  admissionReloads,
  admitJob,
  findRepeated,
  type Share,
} from '../../shared/queue/admit.ts';
import { keepsOrder } from '../../shared/queue/connection.ts';
import type { Entrance } from '../../shared/queue/entrance.ts';
import { costOf, type Entry } from '../../shared/queue/fair-share.ts';
import type { Caller } from './auth.ts';
import type { Permission } from './permission.ts';
import type { Pressure } from './pressure.ts';
import type { TenantShares } from './tenants.ts';
import { createTurns } from './turns.ts';

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

export interface Admit {
  job(submission: Submission): Promise<Accepted>;
  shareOf(caller: Caller): Share;
}

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** 128 random bits: not to be guessed. Neither ':' nor digits alone, which the queue refuses. */
export const newJobId = (): string => `job_${randomBytes(16).toString('hex')}`;

export const queueFull = (): AppError =>
  new AppError('QUEUE_FULL', { retryAfterSeconds: RETRY_AFTER_SECONDS });

export const tenantFull = ({ maxOpenJobs }: Share): AppError =>
  new AppError('TOO_MANY_OPEN_JOBS', {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
    detail: `expected at most ${maxOpenJobs} jobs waiting or running`,
  });

function refusalOf(
  refused: Exclude<Admitted, { kind: 'accepted' | 'awaiting_approval' | 'repeated' }>,
  share: Share,
) {
  switch (refused.kind) {
    case 'key_reused':
      return new AppError('IDEMPOTENCY_KEY_REUSED', { field: 'Idempotency-Key' });
    case 'full':
      return queueFull();
    case 'tenant_full':
      return tenantFull(share);
    default:
      return refused satisfies never;
  }
}

export interface AdmitOptions {
  readonly redis: Redis;
  readonly entrance: Entrance;
  readonly permission: Permission;
  readonly pressure: Pressure;
  readonly limits: Settings['limits'];
  readonly tenants: TenantShares;
  readonly maxOpenJobs: number;
  readonly onAccepted: (jobs: number) => void;
  readonly log: Log;
}

export function createAdmit(options: AdmitOptions): Admit {
  const { redis, entrance, permission, limits, log } = options;
  const turns = createTurns();
  const isOrdered = keepsOrder(redis);
  let fullUntilMs = 0;

  const shareOf: Admit['shareOf'] = ({ tenant }) => {
    const {
      weight = 1,
      maxOpenJobs = 0,
      maxRunningJobs = null,
    } = options.tenants.get(tenant) ?? {};
    return { cost: costOf(weight), maxOpenJobs, maxRunningJobs };
  };

  /** From here on the job is accepted: a failure only delays it, until the sweep puts it into the queue. */
  const enter = async (
    entry: Entry,
    early: Promise<void> | undefined,
    isRecordFirst: () => boolean,
  ): Promise<void> => {
    try {
      await (early ?? entrance.add([entry]));
      // Where the record came second, a worker may have dropped the bare id: the mark stays, and the sweep mends it.
      if (isRecordFirst()) entrance.entered([entry]);
    } catch (error) {
      log.warn({ err: error, job: entry.id }, 'left to the sweep: not enqueued');
    }
  };

  return {
    shareOf,
    async job({ id, caller, request, idempotencyKey, replyTo }) {
      const { tenant } = caller;
      const lane = request.lane ?? 'interactive';
      options.pressure.require(lane);
      const idempotency =
        idempotencyKey === undefined
          ? null
          : { key: sha256(idempotencyKey), body: sha256(JSON.stringify(request)) };
      if (idempotency !== null) {
        // What was accepted once is not judged again: its blobs may be gone, limits lower or used up by now.
        const known = await findRepeated(redis, { tenant, ...idempotency });
        if (known !== undefined) return { id: known, isRepeated: true };
      }
      const call = { tool: 'exec', caller, args: request, nowMs: Date.now(), jobId: id } as const;
      const [granted] = await permission.grant([await permission.judge(call, lane)]);
      if (granted === undefined || granted instanceof AppError) throw granted;
      const { job } = granted;
      const share = shareOf(caller);
      const acceptedAtMs = Date.now();
      const reloads = admissionReloads();
      milestone('before_record');
      const recorded = admitJob(redis, {
        ...job,
        tenant,
        share,
        acceptedAtMs,
        replyTo,
        idempotency,
        maxOpenJobs: options.maxOpenJobs,
        forgetBeforeMs: acceptedAtMs - limits.expiresInMs.ceiling - limits.retainMs.ceiling,
      });
      // On one connection the record is written first. Where nothing will refuse it and its turn is known, the way into
      // the queue goes right behind, and one flush brings both to disk; should it be refused all the same, a worker
      // ignores the bare id.
      const isSure =
        isOrdered && idempotency === null && !job.approval && acceptedAtMs > fullUntilMs;
      const isFirst = isSure && turns.tryFirst(lane, tenant);
      const early = isFirst ? entrance.add([{ id, lane, priority: 1 }]) : undefined;
      early?.catch(() => {});
      milestone('record_sent');
      const admitted = await recorded.finally(() => isFirst && turns.answered(lane, tenant));
      if (admitted.kind === 'awaiting_approval') {
        permission.announce([granted]);
        options.onAccepted(1);
        return { id, isRepeated: false };
      }
      if (admitted.kind !== 'accepted') {
        permission.withdraw([granted]);
        if (admitted.kind === 'repeated') return { id: admitted.id, isRepeated: true };
        if (admitted.kind === 'full') fullUntilMs = Date.now() + RETRY_AFTER_SECONDS * 1000;
        throw refusalOf(admitted, share);
      }
      turns.learn(lane, tenant, admitted.ahead);
      const isRecordFirst = () => early === undefined || admissionReloads() === reloads;
      await enter({ id, lane, priority: admitted.priority }, early, isRecordFirst);
      options.onAccepted(1);
      return { id, isRepeated: false };
    },
  };
}
