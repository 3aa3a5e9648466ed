/** What is written of a job that has to be approved before it runs, and who is told of it. */
import { createHash, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { canonicalJson } from '../../../shared/canonical-json.ts';
import type { ApprovalSummary } from '../../../shared/contract/approval.ts';
import type { JobRequest } from '../../../shared/contract/request.ts';
import type { JobSpec } from '../../../shared/contract/spec.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { NewJob } from '../../../shared/queue/admit.ts';
import { KEPT_MS, type NewApproval, readApproval } from '../../../shared/queue/approval-record.ts';
import { findRemembered } from '../../../shared/queue/approve.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { maskStrings } from '../../../shared/redaction.ts';
import type { Caller } from '../auth.ts';
import type { ApprovalDemand } from '../policy/judgement.ts';
import { summaryOf } from './view.ts';

/** What masking the request of one job may take. */
const MASK_WITHIN_MS = 250;
const MASKED_LENGTH = 32_768;
/** Whoever admitted the job has told its approvers by then, or is gone. */
const ANNOUNCED_WITHIN_MS = 5_000;
const ANNOUNCED_AT_ONCE = 100;

export interface Notice {
  /** The same however often it is sent. */
  readonly id: string;
  readonly type: 'approval.requested';
  /** A name of the policy's `notifiers`. */
  readonly notifier: string;
  readonly tenant: string;
  readonly data: ApprovalSummary;
}

/** Takes a notice over; once it returns, the notice counts as sent. */
export type Notify = (notice: Notice) => void | Promise<void>;

export interface Demanded {
  readonly demand: ApprovalDemand;
  readonly job: Pick<NewJob, 'id' | 'spec' | 'expiresAtMs'>;
  readonly batch: string | null;
  readonly caller: Caller;
  readonly request: JobRequest;
  /** Of the policy. */
  readonly revision: string;
}

export interface Parking {
  /** What the job has to be admitted with; null where an approval from before holds for it. */
  demand(demanded: Demanded): Promise<NewApproval | null>;
  /** Tells the approvers of jobs that were just admitted. Never throws: the sweep does what is left. */
  announce(ids: readonly string[]): Promise<void>;
  /** Does so for jobs whose process died before. */
  announceForgotten(): Promise<void>;
}

export function createParking(options: {
  redis: Redis;
  /** How long a job may wait at most. */
  maxExpiresInMs: number;
  notify: Notify;
  log: Log;
}): Parking {
  const { redis, log } = options;

  const announceOne = async (id: string): Promise<void> => {
    const record = await readApproval(redis, id);
    const isOpen = record?.state === 'pending';
    const told = (isOpen ? record.notify : []).map(async (notifier) => {
      const data = summaryOf(id, record as NonNullable<typeof record>);
      const notice = { id: `${id}.${notifier}`, type: 'approval.requested', notifier } as const;
      try {
        await options.notify({ ...notice, tenant: data.tenant, data });
      } catch (error) {
        if (!(error instanceof AppError) || error.row.retryable) throw error;
        // As a notifier at an address that callbacks may not go to: it would be refused again.
        log.warn({ err: error, approval: id, notifier }, 'approvers not told: refused');
      }
    });
    // One that fails keeps no other from being told.
    const failed = (await Promise.allSettled(told)).find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
    await redis.zrem(keys.unannouncedApprovals(), id);
  };

  const announce: Parking['announce'] = async (ids) => {
    for (const id of ids) {
      await announceOne(id).catch((error: unknown) =>
        log.warn({ err: error, approval: id }, 'left to the sweep: approvers not told'),
      );
    }
  };

  return {
    async demand(demanded) {
      const approval = newApproval(demanded, options.maxExpiresInMs);
      const { tenant } = demanded.caller;
      const { fingerprint, rememberMs } = approval;
      if (rememberMs > 0 && (await findRemembered(redis, { tenant, fingerprint }))) return null;
      return approval;
    },
    announce,
    async announceForgotten() {
      const until = Date.now() - ANNOUNCED_WITHIN_MS;
      const range = ['-inf', until, 'LIMIT', 0, ANNOUNCED_AT_ONCE] as const;
      await announce(await redis.zrangebyscore(keys.unannouncedApprovals(), ...range));
    },
  };
}

function newApproval(demanded: Demanded, maxExpiresInMs: number): NewApproval {
  const { demand, job, batch, caller, request, revision } = demanded;
  const now = Date.now();
  const spec = JSON.parse(job.spec) as JobSpec;
  return {
    id: `apr_${randomBytes(16).toString('hex')}`,
    batch,
    grant: caller.grant,
    name: caller.name,
    rule: demand.rule,
    reason: demand.reason,
    approvers: demand.approvers,
    quorum: demand.quorum,
    mayEdit: demand.mayEdit,
    notify: demand.notify,
    createdAtMs: now,
    // A job that may not start any more needs nobody's yes.
    expiresAtMs: Math.min(now + demand.expiresInMs, job.expiresAtMs),
    onExpire: demand.onExpire,
    rememberMs: demand.rememberMs,
    fingerprint: fingerprintOf({ spec, request, rule: demand.rule, grant: caller.grant, revision }),
    revision,
    shown: shownOf(request, spec),
    request: demand.mayEdit.length > 0 ? JSON.stringify(request) : null,
    forgetBeforeMs: now - maxExpiresInMs - KEPT_MS,
  };
}

/** What an approval is bound to: the job as it will run and what was asked beside it, the rule, the key, the policy. */
export function fingerprintOf(bound: {
  readonly spec: JobSpec;
  readonly request: JobRequest;
  readonly rule: string;
  readonly grant: string;
  readonly revision: string;
}): string {
  const { request, ...rest } = bound;
  // Rules may ask for a yes for what a spec does not hold, such as where the end is sent to.
  const { callback, labels, lane, expiresInMs, retainMs } = request;
  const beside = { callback, labels, lane, expiresInMs, retainMs };
  return createHash('sha256')
    .update(canonicalJson({ ...rest, beside }))
    .digest('hex');
}

/** The request for people, its secrets masked as in what the job writes. */
export function shownOf(request: JobRequest, { redact }: JobSpec): string {
  try {
    const untilMs = performance.now() + MASK_WITHIN_MS;
    return JSON.stringify(maskStrings(request, redact, untilMs, MASKED_LENGTH));
  } catch {
    return JSON.stringify({ withheld: 'masking its secrets took too long' });
  }
}
