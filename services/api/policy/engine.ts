/**
 * The policy as the doors use it: what rules say of a call, which is pure and asks nobody, and then what its limits have
 * left, which is one call to Redis for all of them, and none where no limit counts. One decision for HTTP, MCP and each
 * job of a batch.
 *
 * Redis down: `failMode: closed` refuses with STORE_UNAVAILABLE, `open` logs and lets pass uncounted. Neither waits for
 * longer than the connection's own timeout.
 */
import type { Redis } from 'ioredis';
import type { Tool, Verdict } from '../../../shared/contract/policy.ts';
import type { LimitLeft, PolicyCheck } from '../../../shared/contract/policy-check.ts';
import type { JobRequest } from '../../../shared/contract/request.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import { isStoreFailure } from '../../../shared/queue/connection.ts';
import { type Hold, recordedHolds, releaseHolds } from '../../../shared/queue/holds.ts';
import { type CallReply, reserve as reserveIn } from '../../../shared/queue/reserve.ts';
import type { Call, RunCall } from './call.ts';
import { chargeOf, softlyExceeded } from './charge.ts';
import { checkOf } from './dry-run.ts';
import { judge } from './judge.ts';
import type { ApprovalDemand, Judgement, Reservation, ShadowVerdict } from './judgement.ts';
import { limitsLeft, shadowLimits } from './limits-left.ts';
import { type Policy as Document, demandOfRule } from './policy.ts';
import { denied, refusalOf } from './refusal.ts';
import type { Resolved } from './resolve.ts';

/** Calls that go to Redis at once; a chunk of a batch has no more. */
const AT_ONCE = 500;

export type ResolveWith = (request: JobRequest) => Resolved;

/** A call that rules let through; its limits have not been looked at. */
export interface Judged {
  readonly call: Call | RunCall;
  /** By which it was judged, and by which it goes on being judged. */
  readonly document: Document;
  readonly judgement: Extract<Judgement, { kind: 'goes_on' }>;
}

export interface Reserved {
  /** Everything that was charged: for `release`, should the call come to nothing. */
  readonly holds: readonly Hold[];
  /** The field `holds` of the job's record; null: it has none. */
  readonly recorded: string | null;
  readonly left: readonly LimitLeft[];
  /** What a rule demands, or a limit that is used up; null: it may run. */
  readonly approval: ApprovalDemand | null;
}

/** What was decided of one call, for the audit. */
export interface Decision {
  readonly revision: string;
  readonly call: Call | RunCall;
  readonly decision: Verdict;
  readonly rule: string | null;
  readonly reason: string;
  readonly left: readonly LimitLeft[];
  /** What rules and limits in shadow would have done. */
  readonly shadow: readonly ShadowVerdict[];
}

export interface Policy {
  readonly document: Document;
  /** Throws POLICY_DENIED, or what `resolveWith` throws. Asks nobody. */
  judgeRun(call: RunCall, resolveWith: ResolveWith): Judged;
  /** Charges calls in order, each whole or not at all. An error stands for a call that was not charged. */
  reserve(judged: readonly Judged[]): Promise<(Reserved | AppError)[]>;
  /** Gives back what was charged for calls that came to nothing. Never rejects: places are void by themselves. */
  release(holds: readonly Hold[]): Promise<void>;
  /** Of a tool that runs nothing: resolves when the call may go on. */
  decide(call: Call): Promise<void>;
  /** What would be decided; runs and spends nothing. */
  check(call: Call | RunCall, resolveWith: ResolveWith): Promise<PolicyCheck>;
  isHidden(tool: Tool): boolean;
}

export interface PolicyOptions {
  readonly redis: Redis;
  /** The policy in force at the moment. */
  readonly inForce: () => Document;
  /** Hears every decision that counts, before the call goes on. */
  readonly onDecisions: (decisions: readonly Decision[]) => void;
  readonly log: Log;
}

const NOTHING_RUNS: ResolveWith = () => {
  throw new AppError('INTERNAL', { detail: 'a tool that runs nothing was resolved' });
};

export function createPolicy(options: PolicyOptions): Policy {
  const { redis, inForce, onDecisions, log } = options;

  const judged = (call: Call | RunCall, resolveWith: ResolveWith): Judged => {
    const document = inForce();
    const judgement = judge({ policy: document, call, resolveWith });
    if (judgement.kind === 'goes_on') return { call, document, judgement };
    const { rule, reason, shadow } = judgement;
    const { revision } = document;
    onDecisions([{ revision, call, decision: 'deny', rule, reason, left: [], shadow }]);
    throw denied(call.tool, { rule, reason, revision });
  };

  /** Undefined where Redis did not answer and the document says to go on without. */
  const count = async (some: readonly Judged[]): Promise<readonly CallReply[] | undefined> => {
    try {
      const calls = some.map(({ call, judgement }) => ({
        id: 'jobId' in call ? call.jobId : call.tool,
        charges: judgement.reservations.map(chargeOf),
      }));
      return (await reserveIn(redis, calls)).calls;
    } catch (cause) {
      if (!isStoreFailure(cause)) throw cause;
      if (some.some(({ document }) => document.failMode === 'closed')) {
        throw new AppError('STORE_UNAVAILABLE', { cause, retryAfterSeconds: 1 });
      }
      log.warn({ err: cause, calls: some.length }, 'limits are not counted: failMode is open');
      return undefined;
    }
  };

  const reserveSome = async (some: readonly Judged[]): Promise<(Reserved | AppError)[]> => {
    const limited = some.filter(({ judgement }) => judgement.reservations.length > 0);
    const replies = limited.length === 0 ? [] : await count(limited);
    const replyOf = new Map(limited.map((one, index) => [one, replies?.[index]]));
    const results = some.map((one) => resultOf(one, replyOf.get(one) ?? UNCOUNTED));
    onDecisions(results.map(({ decision }) => decision));
    return results.map(({ result }) => result);
  };

  const reserve: Policy['reserve'] = async (all) => {
    const results: (Reserved | AppError)[] = [];
    for (let at = 0; at < all.length; at += AT_ONCE) {
      results.push(...(await reserveSome(all.slice(at, at + AT_ONCE))));
    }
    return results;
  };

  return {
    get document() {
      return inForce();
    },
    judgeRun: judged,
    reserve,
    async release(holds) {
      await releaseHolds(redis, holds).catch((error: unknown) =>
        log.warn(
          { err: error, holds: holds.length },
          'limits stay charged for what came to nothing',
        ),
      );
    },
    async decide(call) {
      const [result] = await reserve([judged(call, NOTHING_RUNS)]);
      if (result instanceof AppError) throw result;
    },
    check: (call, resolveWith) => checkOf({ call, resolveWith, document: inForce(), redis }),
    isHidden(tool) {
      const { mode, hidden } = inForce();
      return mode === 'enforce' && hidden.has(tool);
    },
  };
}

const UNCOUNTED: CallReply = { isAdmitted: true, counted: [], holds: [] };

function resultOf(
  { call, document, judgement }: Judged,
  { isAdmitted, counted, holds }: CallReply,
): { result: Reserved | AppError; decision: Decision } {
  const { reservations } = judgement;
  const { revision } = document;
  const left = limitsLeft(reservations, counted);
  const shadow = [...judgement.shadow, ...shadowLimits(reservations, counted)];
  const common = { revision, call, left, shadow };
  if (!isAdmitted) {
    const refusal = refusalOf(call.tool, { reservations, counted, revision });
    const { decision, rule, reason } = refusal.policy ?? {
      ...judgement,
      decision: 'deny' as const,
    };
    return { result: refusal, decision: { ...common, decision, rule, reason } };
  }
  const exceeded = softlyExceeded(reservations, counted);
  const approval = judgement.approval ?? (exceeded && demandFor(document, exceeded));
  const { rule, reason } = approval ?? judgement;
  const decision = approval === null ? 'allow' : 'require_approval';
  return {
    result: { holds, recorded: recordedHolds(holds), left, approval },
    decision: { ...common, decision, rule, reason },
  };
}

/** What the rule says of approvals, with the limit's own reason. */
function demandFor(document: Document, { rule, reason }: Reservation): ApprovalDemand {
  const demand = demandOfRule(document, rule);
  if (demand === undefined) throw new AppError('INTERNAL', { detail: `no rule ${rule}` });
  return { ...demand, reason };
}
