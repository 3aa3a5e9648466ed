/** What a policy says of a call, as callers see it: in problems, in `POST /v1/policy/check`, in the audit log. */
import { z } from 'zod';

/** What a caller may be allowed to do; a key has some of them. */
export const SCOPES = [
  'exec:run',
  'exec:batch',
  'exec:read',
  'exec:cancel',
  'policy:approve',
  'policy:write',
  'admin',
] as const;
export type Scope = (typeof SCOPES)[number];

/** The tools that rules name; the routes of HTTP are the same under other names. */
export const TOOLS = [
  'exec',
  'exec_batch',
  'job_get',
  'job_output',
  'job_list',
  'job_cancel',
  'policy_check',
  'sandbox_info',
] as const;
export type Tool = (typeof TOOLS)[number];

export const verdict = z.enum(['allow', 'deny', 'rate_limited', 'require_approval']);
export type Verdict = z.infer<typeof verdict>;

export const policyVerdict = z.strictObject({
  decision: verdict,
  rule: z.string().nullable().describe('The rule that decided; null for the default.'),
  reason: z.string(),
  retryAfterMs: z.int().nonnegative().nullable(),
  approvalId: z.string().nullable(),
  revision: z.string().describe('The revision of the policy that decided.'),
});
export type PolicyVerdict = z.infer<typeof policyVerdict>;
