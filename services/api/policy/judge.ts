/**
 * The decision of a policy over a call, as far as it follows from both alone; counters are looked at afterwards. The
 * order is fixed and does not depend on the order of rules:
 *
 *   kill switch → hidden tools → any deny that matches → the default, where nothing allows → constrain → require →
 *   approval → what is to be reserved → what is to be masked
 *
 * Among rules of one kind the first of the document is the one that is named. A rule in shadow, and every rule of a
 * document in shadow, is judged the same way and changes nothing.
 */
import type { Verdict } from '../../../shared/contract/policy.ts';
import type { JobRequest } from '../../../shared/contract/request.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Call, RunCall } from './call.ts';
import { constrain } from './constrain.ts';
import type { ApprovalDemand, Judgement, Reservation, ShadowVerdict } from './judgement.ts';
import { SubjectTooLong } from './pattern.ts';
import type { CompiledRule, Policy } from './policy.ts';
import { reservationOf } from './reservations.ts';
import type { Resolved } from './resolve.ts';
import { effectiveOf, isRunCall, viewOf } from './view.ts';

/** What stands for the rule where no rule decided. */
const KILL_SWITCH = 'kill_switch';

export interface Question {
  readonly policy: Policy;
  readonly call: Call | RunCall;
  /** Throws the AppError of the operator's own ceilings, which no policy moves. */
  readonly resolveWith: (request: JobRequest) => Resolved;
}

/** A request and what it would run as; null for tools that run nothing. */
type Job = { readonly request: JobRequest; readonly resolved: Resolved } | null;

interface Case extends Question {
  readonly asked: Job;
}

/** What is judged before the rules in shadow are told of. */
type Decided<Kind> = Omit<Extract<Judgement, { readonly kind: Kind }>, 'shadow'>;
type Refused = Decided<'refused'>;
type GoesOn = Decided<'goes_on'>;
type Decision = Refused | GoesOn;

/** Throws nothing but the AppErrors of `resolveWith`. */
export function judge(question: Question): Judgement {
  const { policy, call, resolveWith } = question;
  const { killSwitch } = policy;
  if (killSwitch.active && isRunCall(call)) {
    return { ...refused(KILL_SWITCH, killSwitch.reason), shadow: [] };
  }
  if (policy.mode === 'enforce' && policy.hidden.has(call.tool)) {
    return { ...hiddenTool(call), shadow: [] };
  }
  const asked = isRunCall(call) ? { request: call.args, resolved: resolveWith(call.args) } : null;
  const free = goesOn({ rule: null, reason: `the policy is in mode ${policy.mode}`, asked });
  if (policy.mode === 'off') return { ...free, shadow: [] };
  const matching = matchingRules({ ...question, asked });
  const shadow = matching
    .filter(({ rule }) => rule.isShadow)
    .map((one) => inShadow(one, { ...question, asked }));
  const reserved = shadow.flatMap(({ reservations }) => reservations);
  const verdicts = shadow.map(({ verdict }) => verdict);
  const enforced = matching.filter(({ rule }) => !rule.isShadow);
  const weigh = (): Decision => weighed(enforced, { ...question, asked });
  if (policy.mode === 'shadow') {
    const decision = policy.hidden.has(call.tool) ? hiddenTool(call) : tried(weigh);
    return {
      ...free,
      reservations: [...shadowed(decision), ...reserved],
      shadow: [verdictOf(decision), ...verdicts],
    };
  }
  const decision = weigh();
  if (decision.kind === 'refused') return { ...decision, shadow: verdicts };
  const reservations = [...decision.reservations, ...reserved];
  return { ...decision, reservations, shadow: verdicts };
}

const refused = (rule: string | null, reason: string): Refused => ({
  kind: 'refused',
  rule,
  reason,
});

const hiddenTool = ({ tool }: Call): Refused =>
  refused(null, `the tool ${tool} is not offered here`);

const goesOn = (of: { rule: string | null; reason: string; asked: Job }): GoesOn => ({
  kind: 'goes_on',
  rule: of.rule,
  reason: of.reason,
  resolved: of.asked?.resolved ?? null,
  approval: null,
  reservations: [],
  redactions: [],
});

/** A rule whose condition had too much to read is neither true nor false: what it speaks of is refused. */
interface Match {
  readonly rule: CompiledRule;
  readonly unreadable: string | null;
}

function matchingRules({ policy, call, asked }: Case): Match[] {
  const { caller, tool, nowMs } = call;
  const view = viewFor({ policy, call }, asked);
  const found: Match[] = [];
  for (const rule of policy.rules.get(tool) ?? []) {
    if (!rule.isOf(caller) || !rule.isDuring(nowMs)) continue;
    const answer = ask(rule.holds, view);
    if (answer !== false) found.push({ rule, unreadable: answer === true ? null : answer });
  }
  return found;
}

const viewFor = ({ policy, call }: Pick<Question, 'policy' | 'call'>, job: Job): object =>
  viewOf(call, job === null ? {} : effectiveOf(job.request, job.resolved), policy.roles);

/** Why it cannot be said, where a pattern would have to read too much. */
function ask(holds: (view: object) => boolean, view: object): boolean | string {
  try {
    return holds(view);
  } catch (error) {
    if (error instanceof SubjectTooLong) return error.message;
    throw error;
  }
}

function weighed(matches: readonly Match[], the: Case): Decision {
  const denies = matches.find(({ rule, unreadable }) => rule.action === 'deny' || unreadable);
  if (denies !== undefined) return refusalBy(denies);
  const rules = matches.map(({ rule }) => rule);
  const opens = rules.find(({ action }) => action === 'allow' || action === 'require_approval');
  if (opens === undefined && the.policy.default === 'deny') {
    return refused(null, 'no rule allows it');
  }
  return applied(rules, opens, the);
}

const refusalBy = ({ rule, unreadable }: Match): Refused =>
  refused(rule.name, unreadable ?? rule.reason ?? 'denied');

/** What rules that let a call through make of it. */
function applied(
  rules: readonly CompiledRule[],
  opens: CompiledRule | undefined,
  { policy, call, asked, resolveWith }: Case,
): Decision {
  const held = asked && constrain(asked.request, asked.resolved, { rules, resolveWith });
  if (held && 'exceeded' in held) return refused(held.exceeded.rule, held.exceeded.reason);
  const unmet = firstUnmet(rules, viewFor({ policy, call }, held));
  if (unmet !== undefined) return unmet;
  const demand = asked && demandBy(rules);
  const resolved = held?.resolved ?? null;
  const named = demand ?? opens;
  return {
    kind: 'goes_on',
    rule: demand?.rule ?? opens?.name ?? null,
    reason: named?.reason ?? (opens ? `allowed by ${opens.name}` : 'allowed by default'),
    resolved,
    approval: demand,
    reservations: reservationsOf(rules, { call, resolved, isShadow: false }),
    redactions: rules.flatMap(({ redactions }) => redactions),
  };
}

function firstUnmet(rules: readonly CompiledRule[], view: object): Refused | undefined {
  for (const { name, requires } of rules) {
    for (const { holds, reason } of requires) {
      const answer = ask(holds, view);
      if (answer !== true) return refused(name, answer === false ? reason : answer);
    }
  }
  return undefined;
}

const demandBy = (rules: readonly CompiledRule[]): ApprovalDemand | null =>
  rules.find(({ action }) => action === 'require_approval')?.demand ?? null;

const reservationsOf = (
  rules: readonly CompiledRule[],
  of: { call: Call; resolved: Resolved | null; isShadow: boolean },
): Reservation[] =>
  rules.flatMap(({ limits }) => limits.flatMap((limit) => reservationOf(limit, of) ?? []));

/** What a rule by itself would have done. */
function inShadow(
  match: Match,
  the: Case,
): { verdict: ShadowVerdict; reservations: readonly Reservation[] } {
  const { rule, unreadable } = match;
  const decision =
    rule.action === 'deny' || unreadable !== null
      ? refusalBy(match)
      : tried(() => applied([rule], rule, the));
  return {
    verdict: { ...verdictOf(decision), rule: rule.name },
    reservations: shadowed(decision),
  };
}

/** In shadow even the operator's ceilings, met by a default of the document, only say what would have been. */
function tried(decide: () => Decision): Decision {
  try {
    return decide();
  } catch (error) {
    if (error instanceof AppError) return refused(null, error.message);
    throw error;
  }
}

function verdictOf(decision: Decision): ShadowVerdict {
  const { rule, reason } = decision;
  const through: Verdict =
    decision.kind === 'goes_on' && decision.approval !== null ? 'require_approval' : 'allow';
  return {
    rule: rule ?? 'default',
    decision: decision.kind === 'refused' ? 'deny' : through,
    reason,
  };
}

const shadowed = (decision: Decision): readonly Reservation[] =>
  decision.kind === 'refused'
    ? []
    : decision.reservations.map((one) => ({ ...one, isShadow: true }));
