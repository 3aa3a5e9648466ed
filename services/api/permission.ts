/**
 * May it run? From a request to a job that is ready to be admitted: what the policy says of it, what it is charged to,
 * the approval that it has to wait for, its signature. One road for single jobs and for each job of a batch.
 */
import type { Lane } from '../../shared/contract/lane.ts';
import { AppError } from '../../shared/errors.ts';
import type { NewJob } from '../../shared/queue/admit.ts';
import type { Sign } from '../../shared/queue/signature.ts';
import type { Parking } from './approvals/park.ts';
import type { Caller } from './auth.ts';
import type { Blobs } from './blobs.ts';
import type { AcceptCallback } from './callbacks/target.ts';
import type { RunCall } from './policy/call.ts';
import type { Judged, Policy, Reserved } from './policy/engine.ts';
import { largestBatch } from './policy/policy.ts';
import { denied } from './policy/refusal.ts';
import { type Resolved, type Rules, resolve } from './policy/resolve.ts';
import type { RuntimeOffer } from './runtimes.ts';

/** Beside its own time, what one start takes at most: making a sandbox, reporting, settling. */
const START_OVERHEAD_MS = 120_000;

/** What the policy let through; nothing is charged for it yet. */
export interface Candidate {
  readonly call: RunCall;
  readonly judged: Judged;
  readonly job: NewJob;
}

export interface Granted {
  readonly job: NewJob;
  /** What it was charged: to be given back should it not be admitted. */
  readonly holds: Reserved['holds'];
}

export interface Permission {
  /** Throws an AppError: the operator's ceilings, the policy, a runtime or a blob that is not here. */
  judge(call: RunCall, lane: Lane): Promise<Candidate>;
  /** In the order of the candidates; an AppError stands for one that was refused, and was charged nothing. */
  grant(candidates: readonly Candidate[]): Promise<(Granted | AppError)[]>;
  /** The most jobs that a batch of the caller may have; Infinity without a bound. */
  largestBatch(caller: Caller): number;
  batchTooLarge(most: number): AppError;
  /** Gives back what jobs were charged that were not admitted. */
  withdraw(granted: readonly Granted[]): void;
  /** Tells the approvers of jobs that were admitted. */
  announce(granted: readonly Granted[]): void;
}

export interface PermissionParts {
  readonly policy: Policy;
  readonly parking: Parking;
  readonly sign: Sign;
  readonly blobs: Blobs;
  readonly runtimes: RuntimeOffer;
  readonly acceptCallback: AcceptCallback;
  readonly rules: Rules;
}

export function createPermission(parts: PermissionParts): Permission {
  const { policy, parking, sign, rules } = parts;

  const grantOne = async (
    { call, judged, job }: Candidate,
    reserved: Reserved,
  ): Promise<Granted> => {
    const { holds, recorded, approval: demand } = reserved;
    const { caller, args, batch } = call;
    // As the policy left it: an edit that began with what was sent would lift what rules hold the job to.
    const request = judged.judgement.resolved?.request ?? args;
    const { revision } = judged.document;
    const approval =
      demand &&
      (await parking.demand({ demand, job, batch: batch?.id ?? null, caller, request, revision }));
    const signature = sign({
      id: job.id,
      tenant: caller.tenant,
      spec: job.spec,
      expiresAtMs: job.expiresAtMs,
    });
    return { job: { ...job, holds: recorded, approval, signature }, holds };
  };

  const withdraw = (charged: readonly Pick<Reserved, 'holds'>[]): void => {
    const holds = charged.flatMap((one) => one.holds);
    if (holds.length > 0) void policy.release(holds);
  };

  return {
    async judge(call, lane) {
      const judged = policy.judgeRun(call, (request) => resolve(request, rules));
      const { resolved, redactions } = judged.judgement;
      if (resolved === null) throw new AppError('INTERNAL', { detail: 'a run was not resolved' });
      const spec = { ...resolved.spec, redact: [...redactions] };
      await parts.runtimes.require(spec.runtime);
      const job = newJob(call, lane, { ...resolved, spec });
      const lastStartInMs = resolved.expiresInMs + job.budgetMs;
      await parts.blobs.requireForJob({ caller: call.caller, spec, lastStartInMs });
      return { call, judged, job: { ...job, callback: parts.acceptCallback(call.args.callback) } };
    },
    async grant(candidates) {
      const reserved = await policy.reserve(candidates.map(({ judged }) => judged));
      const granting = candidates.map((candidate, index) => {
        const one = reserved[index] as Reserved | AppError;
        return one instanceof AppError ? one : grantOne(candidate, one);
      });
      try {
        return await Promise.all(granting);
      } catch (error) {
        withdraw(reserved.flatMap((one) => (one instanceof AppError ? [] : one)));
        throw error;
      }
    },
    largestBatch: (caller) => largestBatch(policy.document, caller, Date.now()) ?? Infinity,
    batchTooLarge(most) {
      const { revision } = policy.document;
      return denied('exec_batch', {
        rule: null,
        reason: `a batch has at most ${most} jobs`,
        revision,
      });
    },
    withdraw,
    announce(granted) {
      const ids = granted.flatMap(({ job }) => (job.approval ? [job.approval.id] : []));
      if (ids.length > 0) void parking.announce(ids);
    },
  };
}

/** The parts of a job's record that follow from what was decided of it. */
export function newJob(
  { jobId, args }: Pick<RunCall, 'jobId' | 'args'>,
  lane: Lane,
  { spec, expiresInMs, retainMs }: Resolved,
): NewJob {
  return {
    id: jobId,
    lane,
    spec: JSON.stringify(spec),
    image: spec.image,
    runtime: spec.runtime,
    labels: args.labels ?? {},
    expiresAtMs: Date.now() + expiresInMs,
    retainMs,
    budgetMs: spec.timeoutMs + START_OVERHEAD_MS,
  };
}
