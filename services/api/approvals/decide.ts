/**
 * Approvals as their approvers see and decide them. Of twenty who say yes at once one releases the job, and all of them
 * read that it is approved; whoever says otherwise after the decision is told so. The key that asked never decides,
 * nor does another key of the same name.
 */
import type { Redis } from 'ioredis';
import type { ApprovalPage, ApprovalView, Decision } from '../../../shared/contract/approval.ts';
import type { JobRequest } from '../../../shared/contract/request.ts';
import type { JobSpec } from '../../../shared/contract/spec.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { NewJob } from '../../../shared/queue/admit.ts';
import { type ApprovalRecord, readApproval } from '../../../shared/queue/approval-record.ts';
import { approve, type Edit } from '../../../shared/queue/approve.ts';
import type { Entrance } from '../../../shared/queue/entrance.ts';
import { type JobRecord, readRecord } from '../../../shared/queue/job-record.ts';
import { settleWithoutRun } from '../../../shared/queue/settle-without-run.ts';
import type { Sign } from '../../../shared/queue/signature.ts';
import type { AdministrativeAct, Caller } from '../auth.ts';
import { applyEdit } from './edit.ts';
import { type ExpiryParts, expireIfDue } from './expire.ts';
import { type ApprovalQuery, listApprovals } from './list.ts';
import { fingerprintOf, shownOf } from './park.ts';
import { viewOf } from './view.ts';

export interface Say {
  readonly reason: string | null;
  /** New values by path; null leaves the request as it is. */
  readonly edit: Readonly<Record<string, unknown>> | null;
  /** What was shown to whoever decides, where they say so. */
  readonly fingerprint: string | null;
}

/** An edited request → the parts of its job, or an AppError. The id stays, and its lane. */
export type ResolveEdited = (edited: {
  readonly id: string;
  readonly approval: ApprovalRecord;
  readonly job: JobRecord;
  readonly request: JobRequest;
}) => Promise<NewJob>;

export interface ApprovalParts {
  readonly redis: Redis;
  readonly entrance: Entrance;
  readonly resolveEdited: ResolveEdited;
  readonly sign: Sign;
  /** Whether the rule names the caller: as a name or by a role. */
  readonly mayApprove: (caller: Caller, approvers: readonly string[]) => boolean;
  readonly onAct: (act: AdministrativeAct) => void;
  readonly onExpired?: ExpiryParts['onExpired'];
  readonly log: Log;
}

export interface Approvals {
  list(caller: Caller, query: ApprovalQuery): Promise<ApprovalPage>;
  get(caller: Caller, id: string): Promise<ApprovalView>;
  approve(caller: Caller, id: string, say: Say): Promise<ApprovalView>;
  deny(caller: Caller, id: string, say: Say & { readonly reason: string }): Promise<ApprovalView>;
}

export function createApprovals(parts: ApprovalParts): Approvals {
  const { redis, entrance, onAct } = parts;

  /** Whoever may not see it sees nothing, as if there were none. */
  const look = async (caller: Caller, id: string): Promise<ApprovalRecord> => {
    const record = await readApproval(redis, id);
    const isVisible = record?.tenant === caller.tenant || caller.scopes.has('admin');
    if (record === undefined || !isVisible) throw new AppError('NOT_FOUND');
    return expireIfDue(parts, id, record);
  };

  /** The approval to decide. Not pending, it was decided before, and as the caller wants it. */
  const open = async (
    caller: Caller,
    id: string,
    as: 'approved' | 'denied',
    say: Say,
  ): Promise<{ record: ApprovalRecord; isPending: boolean }> => {
    const record = await look(caller, id);
    requireMayDecide(caller, record, parts.mayApprove);
    if (record.state === 'pending') requireSame(say.fingerprint, record);
    else if (record.state !== as || say.edit !== null) throw decided(record);
    return { record, isPending: record.state === 'pending' };
  };

  return {
    list: (caller, query) =>
      listApprovals(redis, caller.scopes.has('admin') ? null : caller.tenant, query),
    get: async (caller, id) => viewOf(id, await look(caller, id)),
    async approve(caller, id, say) {
      const { record, isPending } = await open(caller, id, 'approved', say);
      if (!isPending) return viewOf(id, record);
      const edit = say.edit === null ? null : await editOf(parts, record, say.edit);
      const decision = decisionOf(caller, 'approve', say.reason, edit?.paths ?? []);
      const approved = await approve(redis, {
        id,
        job: record.job,
        tenant: record.tenant,
        voter: caller.name,
        decision,
        fingerprint: record.fingerprint,
        edit,
        nowMs: Date.now(),
      });
      if (approved.kind === 'changed') throw changed();
      if (approved.kind === 'decided' || approved.kind === 'unknown') {
        return viewOf(id, (await open(caller, id, 'approved', say)).record);
      }
      if (approved.kind === 'released') entrance.release(approved.entries);
      const isReleased = approved.kind === 'released';
      const detail = { job: record.job, isReleased, reason: say.reason, edit: decision.edit };
      onAct({ actor: caller, act: 'approval.approve', subject: id, detail });
      return viewOf(id, await look(caller, id));
    },
    async deny(caller, id, say) {
      const { record, isPending } = await open(caller, id, 'denied', say);
      if (!isPending) return viewOf(id, record);
      const job = await readRecord(redis, record.job);
      const { reason } = say;
      const decision = decisionOf(caller, 'deny', reason, []);
      const settled =
        job?.state === 'awaiting_approval' &&
        (await settleWithoutRun(redis, {
          id: record.job,
          record: job,
          outcome: { kind: 'denied', rule: record.rule, reason },
          approval: { as: 'denied', decision: JSON.stringify(decision) },
        }));
      if (settled === false || settled.as !== 'settled') {
        return viewOf(id, (await open(caller, id, 'denied', say)).record);
      }
      entrance.release(settled.released);
      const detail = { job: record.job, reason };
      onAct({ actor: caller, act: 'approval.deny', subject: id, detail });
      return viewOf(id, await look(caller, id));
    },
  };
}

function requireMayDecide(
  caller: Caller,
  { grant, name, approvers }: ApprovalRecord,
  mayApprove: ApprovalParts['mayApprove'],
): void {
  if (caller.grant === grant || caller.name === name) {
    throw new AppError('APPROVAL_NOT_YOURS', {
      detail: `expected somebody else than ${name}, who asked for it`,
    });
  }
  if (approvers.length > 0 && !mayApprove(caller, approvers)) {
    throw new AppError('APPROVAL_NOT_YOURS', {
      detail: `expected one of ${approvers.join(', ')}; came ${caller.name}`,
    });
  }
}

const changed = (): AppError =>
  new AppError('POLICY_CHANGED', {
    field: 'If-Match',
    detail: 'the request was edited since you saw it; look at it again',
  });

/** Several fingerprints, as If-Match allows, are none of ours. */
function requireSame(shown: string | null, { fingerprint }: ApprovalRecord): void {
  if (shown !== null && shown !== fingerprint) throw changed();
}

const decided = ({ state, decisions }: ApprovalRecord): AppError => {
  const last = decisions.at(-1);
  const by = last?.by ? ` by ${last.by.name}` : '';
  return new AppError('APPROVAL_DECIDED', {
    detail: `expected a pending approval; it is ${state}${by}`,
  });
};

const decisionOf = (
  { grant, name }: Caller,
  decision: Decision['decision'],
  reason: string | null,
  edit: readonly string[],
): Decision => ({
  decision,
  by: { grant, name },
  at: new Date().toISOString(),
  reason,
  edit: [...edit],
});

/** The job as the edited request asks for it, signed anew. */
async function editOf(
  { redis, resolveEdited, sign }: ApprovalParts,
  approval: ApprovalRecord,
  change: Readonly<Record<string, unknown>>,
): Promise<Edit & { readonly paths: readonly string[] }> {
  const { request, paths } = applyEdit(approval.request ?? {}, change, approval.mayEdit);
  const record = await readRecord(redis, approval.job);
  if (record === undefined) throw new AppError('NOT_FOUND');
  const id = approval.job;
  const job = await resolveEdited({ id, approval, job: record, request });
  const spec = JSON.parse(job.spec) as JobSpec;
  const { tenant, grant, rule, revision } = approval;
  const signature = sign({ id, tenant, spec: job.spec, expiresAtMs: record.expiresAt });
  const { image, runtime, labels, retainMs, budgetMs } = job;
  return {
    job: { spec: job.spec, image, runtime, labels, retainMs, budgetMs, signature },
    fingerprint: fingerprintOf({ spec, request, rule, grant, revision }),
    shown: shownOf(request, spec),
    request: JSON.stringify(request),
    paths,
  };
}
