/** A document made ready to judge by: every pattern, path and clock compiled, the rules of each tool at hand. */
import { TOOLS, type Tool } from '../../../shared/contract/policy.ts';
import type { Caller } from '../auth.ts';
import { demandOf } from './approval.ts';
import { compileTree, type Predicate } from './condition.ts';
import { type CompiledConstraints, compileConstraints } from './constrain.ts';
import type { Constraints } from './constraints.ts';
import type { DocumentTest, PolicyDocument } from './document.ts';
import { compileDuring } from './during.ts';
import type { ApprovalDemand, Redaction } from './judgement.ts';
import { type Limit, limitsOf } from './reservations.ts';
import { revisionOf } from './revision.ts';
import { type Rule, toolsOf } from './rule.ts';
import { compileCallers, compileRoles, compileWho, type Roles } from './who.ts';

export interface CompiledRule {
  readonly name: string;
  readonly isShadow: boolean;
  readonly action: Rule['action'];
  readonly reason: string | undefined;
  readonly isOf: (caller: Caller) => boolean;
  readonly isDuring: (nowMs: number) => boolean;
  readonly holds: Predicate;
  readonly limits: readonly Limit[];
  readonly requires: readonly { readonly holds: Predicate; readonly reason: string }[];
  readonly constraints: CompiledConstraints | null;
  /** What it demands when it requires approval, itself or by a limit that is used up. */
  readonly demand: ApprovalDemand;
  readonly redactions: readonly Redaction[];
}

export interface Policy {
  /** Of what the document says, however it is spelt: 12 hexadecimal digits. */
  readonly revision: string;
  /** As it was written, in this server's own form. */
  readonly written: unknown;
  readonly name: string;
  readonly default: PolicyDocument['default'];
  readonly mode: PolicyDocument['mode'];
  readonly failMode: PolicyDocument['failMode'];
  readonly killSwitch: PolicyDocument['killSwitch'];
  readonly audit: PolicyDocument['audit'];
  readonly notifiers: PolicyDocument['notifiers'];
  readonly hidden: ReadonlySet<Tool>;
  readonly roles: Roles;
  readonly rules: ReadonlyMap<Tool, readonly CompiledRule[]>;
  readonly tests: readonly DocumentTest[];
}

export function compilePolicy(document: PolicyDocument, written: unknown): Policy {
  const roles = compileRoles(document.roles);
  const enabled = document.rules.filter((rule) => rule.enabled);
  const compiled = enabled.map((rule) => ({
    tools: new Set(rule.tools.flatMap(toolsOf)),
    rule: compileRule(rule, roles),
  }));
  const { name, mode, failMode, killSwitch, audit, notifiers, tests } = document;
  return {
    revision: revisionOf(written),
    written,
    name,
    default: document.default,
    mode,
    failMode,
    killSwitch,
    audit,
    notifiers,
    hidden: new Set(document.hide.flatMap(toolsOf)),
    roles,
    tests,
    rules: new Map(
      TOOLS.map((tool) => [
        tool,
        compiled.filter(({ tools }) => tools.has(tool)).map(({ rule }) => rule),
      ]),
    ),
  };
}

function compileRule(rule: Rule, roles: Roles): CompiledRule {
  const always = (): boolean => true;
  const { name, action, reason } = rule;
  return {
    name,
    isShadow: rule.mode === 'shadow',
    action,
    reason,
    isOf: rule.who === undefined ? always : compileWho(rule.who, roles),
    isDuring: rule.during === undefined ? always : compileDuring(rule.during),
    holds: rule.when === undefined ? always : compileTree(rule.when),
    limits: limitsOf(rule),
    requires: (rule.require ?? []).map((one) => ({
      holds: compileTree(one.when),
      reason: one.reason,
    })),
    constraints: constraintsOf(rule.constrain),
    demand: demandOf(name, reason ?? `${name} requires an approval.`, rule.approval),
    redactions: rule.redact ?? [],
  };
}

const constraintsOf = (asked: Constraints | undefined): CompiledConstraints | null =>
  asked === undefined ? null : compileConstraints(asked);

/** Whether a caller is one of those who approve: `demand.approvers`; without any, whoever has the scope. */
export const mayApprove = (policy: Policy, approvers: readonly string[], caller: Caller): boolean =>
  approvers.length === 0 || compileCallers(approvers, policy.roles)(caller.name);

/** What a rule demands: for a limit that is used up and asks for an approval then. */
export function demandOfRule(policy: Policy, name: string): ApprovalDemand | undefined {
  for (const rules of policy.rules.values()) {
    const found = rules.find((rule) => rule.name === name);
    if (found !== undefined) return found.demand;
  }
  return undefined;
}

/** The most jobs that a batch of this caller may have; null without a bound. */
export function largestBatch(policy: Policy, caller: Caller, nowMs: number): number | null {
  if (policy.mode !== 'enforce') return null;
  const bounds = (policy.rules.get('exec_batch') ?? [])
    .filter((rule) => !rule.isShadow && rule.isOf(caller) && rule.isDuring(nowMs))
    .flatMap(({ constraints }) => constraints?.batchSize ?? []);
  return bounds.length === 0 ? null : Math.min(...bounds);
}

const redactions = new WeakMap<Policy, readonly Redaction[]>();

/** Of all of its rules: what is masked wherever a rule is not known. */
export function redactionsOf(policy: Policy): readonly Redaction[] {
  const known = redactions.get(policy);
  if (known !== undefined) return known;
  const rules = new Set([...policy.rules.values()].flat());
  const all = [...rules].flatMap((rule) => rule.redactions);
  redactions.set(policy, all);
  return all;
}
