/** A call judged without being made: the same rules, the same limits, nothing charged and nothing recorded. */
import type { Redis } from 'ioredis';
import type { PolicyCheck } from '../../../shared/contract/policy-check.ts';
import type { JobRequest } from '../../../shared/contract/request.ts';
import { reserve } from '../../../shared/queue/reserve.ts';
import type { Call, RunCall } from './call.ts';
import { chargeOf, softlyExceeded } from './charge.ts';
import { judge } from './judge.ts';
import { limitsLeft } from './limits-left.ts';
import type { Policy as Document } from './policy.ts';
import { refusalOf } from './refusal.ts';
import type { Resolved } from './resolve.ts';
import { effectiveOf, isRunCall } from './view.ts';

export async function checkOf(asked: {
  call: Call | RunCall;
  resolveWith: (request: JobRequest) => Resolved;
  document: Document;
  redis: Redis;
}): Promise<PolicyCheck> {
  const { call, resolveWith, document, redis } = asked;
  const { revision } = document;
  const common = { retryAfterMs: null, approvalId: null, revision };
  const judgement = judge({ policy: document, call, resolveWith });
  const { rule, reason } = judgement;
  if (judgement.kind === 'refused') {
    return { ...common, decision: 'deny', rule, reason, effective: null, limitsLeft: [] };
  }
  const { resolved, reservations, approval } = judgement;
  const effective =
    resolved !== null && isRunCall(call) ? { ...effectiveOf(resolved.request, resolved) } : null;
  const charges = reservations.map(chargeOf);
  const reply =
    charges.length === 0
      ? undefined
      : (await reserve(redis, [{ id: 'check', charges }], 'peek')).calls[0];
  const counted = reply?.counted ?? [];
  const left = limitsLeft(reservations, counted);
  if (reply !== undefined && !reply.isAdmitted) {
    const refusal = refusalOf(call.tool, { reservations, counted, revision });
    if (refusal.policy !== undefined)
      return { ...refusal.policy, effective: null, limitsLeft: left };
  }
  const needsApproval = approval ?? softlyExceeded(reservations, counted);
  const decision = needsApproval === null ? 'allow' : 'require_approval';
  const named = needsApproval ?? judgement;
  return {
    ...common,
    decision,
    rule: named.rule,
    reason: named.reason,
    effective,
    limitsLeft: left,
  };
}
