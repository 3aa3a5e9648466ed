/** Policies and calls for tests: a document of rules alone, a caller who may run, the operator's own ceilings. */
import type { Caller } from '../../../services/api/auth.ts';
import type { Call, RunCall } from '../../../services/api/policy/call.ts';
import { showFaults } from '../../../services/api/policy/fault.ts';
import { judge } from '../../../services/api/policy/judge.ts';
import type { Judgement } from '../../../services/api/policy/judgement.ts';
import { loadPolicy, policyOf } from '../../../services/api/policy/load.ts';
import type { Policy } from '../../../services/api/policy/policy.ts';
import { type Resolved, resolve } from '../../../services/api/policy/resolve.ts';
import { parseSettings } from '../../../shared/config/settings.ts';
import type { Tool } from '../../../shared/contract/policy.ts';
import {
  type JobRequest,
  type JobRequestInput,
  jobRequest,
} from '../../../shared/contract/request.ts';
import { readCatalogue } from '../../../shared/images.ts';
import { callerOfTenant } from '../caller.ts';

const { limits, runtimes } = parseSettings({});
const catalogue = readCatalogue(undefined);

export const resolveWith = (request: JobRequest): Resolved =>
  resolve(request, { limits, runtimes, defaultImage: 'base', catalogue });

/** A Monday at noon. */
export const NOON_MS = Date.parse('2026-01-05T12:00:00Z');

export function policyFrom(document: object): Policy {
  const loaded = policyOf({ version: '1', ...document });
  if ('policy' in loaded) return loaded.policy;
  throw new Error(showFaults(loaded.faults));
}

export function policyOfText(text: string): Policy {
  const loaded = loadPolicy(text);
  if ('policy' in loaded) return loaded.policy;
  throw new Error(showFaults(loaded.faults));
}

interface Of {
  readonly caller?: Partial<Caller>;
  readonly nowMs?: number;
}

export const runCall = (
  args: JobRequestInput,
  { caller, nowMs = NOON_MS, tool = 'exec' }: Of & { readonly tool?: 'exec' | 'exec_batch' } = {},
): RunCall => ({
  tool,
  caller: callerOfTenant('acme', caller),
  args: jobRequest.parse(args),
  nowMs,
  jobId: 'job-1',
});

export const otherCall = (tool: Tool, { caller, nowMs = NOON_MS }: Of = {}): Call => ({
  tool,
  caller: callerOfTenant('acme', caller),
  args: {},
  nowMs,
});

export const ask = (policy: Policy, call: Call | RunCall): Judgement =>
  judge({ policy, call, resolveWith });

/** What the rules make of one job. */
export const askRules = (
  rules: readonly object[],
  args: JobRequestInput = { command: ['true'] },
  of: Parameters<typeof runCall>[1] = {},
): Judgement => ask(policyFrom({ rules }), runCall(args, of));

export const allowing = (more: object = {}): object => ({
  name: 'may-run',
  tools: ['exec', 'exec_batch'],
  action: 'allow',
  ...more,
});
