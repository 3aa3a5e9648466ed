/** The tests that a document brings along: each makes calls on counters of its own, and says what the last one gets. */
import { isDeepStrictEqual } from 'node:util';
import type { Verdict } from '../../../shared/contract/policy.ts';
import { jobRequest } from '../../../shared/contract/request.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Call, RunCall } from './call.ts';
import type { DocumentTest } from './document.ts';
import { faultsIn, showFaults } from './fault.ts';
import { judge, type Question } from './judge.ts';
import type { Judgement } from './judgement.ts';
import { compilePath } from './path.ts';
import type { Policy } from './policy.ts';
import { RUN_TOOLS } from './rule.ts';
import { createSimulatedCounters, type SimulatedCounters } from './simulated-counters.ts';
import { effectiveOf } from './view.ts';

export interface TestResult {
  readonly name: string;
  /** Null: passed. */
  readonly failure: string | null;
}

type ResolveWith = Question['resolveWith'];

/**
 * `resolveWith` holds this server's ceilings: a request above them fails its test, whatever that expects. What is
 * tested are the rules: a document in shadow, or with its kill switch on, has to be taken when it is needed most.
 */
export function runDocumentTests(policy: Policy, resolveWith: ResolveWith): TestResult[] {
  const killSwitch = { ...policy.killSwitch, active: false };
  const enforced: Policy = { ...policy, mode: 'enforce', killSwitch };
  return policy.tests.map((test) => ({
    name: test.name,
    failure: failureOf(test, enforced, resolveWith),
  }));
}

interface Ending {
  readonly verdict: Verdict;
  readonly rule: string | null;
  readonly judgement: Judgement;
}

function failureOf(test: DocumentTest, policy: Policy, resolveWith: ResolveWith): string | null {
  try {
    const counters = createSimulatedCounters();
    const startMs = Date.parse(test.at);
    for (let index = 0; index < test.repeat - 1; index += 1) {
      const call = callOf(test, startMs + index * test.every);
      endingOf({ policy, call, resolveWith }, counters);
    }
    const call = callOf(test, startMs + (test.repeat - 1) * test.every);
    return differenceOf(test, call, endingOf({ policy, call, resolveWith }, counters));
  } catch (error) {
    if (error instanceof AppError) return `refused without the policy: ${error.message}`;
    throw error;
  }
}

function callOf(test: DocumentTest, nowMs: number): Call | RunCall {
  const { tool, args } = test;
  const { scopes, ...rest } = test.caller;
  const caller = { ...rest, scopes: new Set(scopes) };
  if (tool !== 'exec' && tool !== 'exec_batch') return { tool, caller, args, nowMs };
  const parsed = jobRequest.safeParse(args);
  if (!parsed.success) {
    const detail = `args: ${showFaults(faultsIn(parsed.error))}`;
    throw new AppError('REQUEST_INVALID', { detail });
  }
  return { tool, caller, args: parsed.data, nowMs, jobId: 'test' };
}

/** As a server answers: refused, waiting for an approval, or charged and then let through or not. */
function endingOf(question: Question, counters: SimulatedCounters): Ending {
  const judgement = judge(question);
  const { rule } = judgement;
  if (judgement.kind === 'refused') return { verdict: 'deny', rule, judgement };
  if (judgement.approval !== null) return { verdict: 'require_approval', rule, judgement };
  const full = counters.reserve(judgement.reservations, question.call.nowMs);
  // A place is waited for; a window is not.
  const isWaitedFor = full?.kind === 'concurrency' && full.onExceed === 'queue';
  if (full === undefined || isWaitedFor) return { verdict: 'allow', rule, judgement };
  const verdict = full.onExceed === 'require_approval' ? 'require_approval' : 'rate_limited';
  return { verdict, rule: full.rule, judgement };
}

function differenceOf(test: DocumentTest, call: Call | RunCall, ending: Ending): string | null {
  const { verdict, rule, judgement } = ending;
  const by = rule === null ? 'by no rule' : `by ${rule}`;
  const came = `came ${verdict} ${by}: ${judgement.reason}`;
  if (verdict !== test.expect) return `expected ${test.expect}; ${came}`;
  if (test.rule !== undefined && test.rule !== rule) {
    return `expected ${test.expect} ${test.rule === null ? 'by no rule' : `by ${test.rule}`}; ${came}`;
  }
  if (test.effective === undefined) return null;
  if (judgement.kind === 'refused' || judgement.resolved === null) {
    return 'expected a job to look at; came none';
  }
  const request = RUN_TOOLS.includes(call.tool) ? jobRequest.parse(call.args) : { command: [] };
  const got = effectiveOf(request, judgement.resolved);
  for (const [path, value] of Object.entries(test.effective)) {
    const [found] = compilePath(path).read(got);
    if (isDeepStrictEqual(found, value)) continue;
    return `expected ${path} to be ${JSON.stringify(value)}; came ${JSON.stringify(found)}`;
  }
  return null;
}

/** What failed, one line each; empty when all passed. */
export const showFailures = (results: readonly TestResult[]): string =>
  results
    .flatMap(({ name, failure }) => (failure === null ? [] : [`${name}: ${failure}`]))
    .join('\n');
