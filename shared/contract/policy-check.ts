/** `POST /v1/policy/check` and the tool `policy_check`: what the policy would say of a call, which is not made. */
import { z } from 'zod';
import { policyVerdict, TOOLS } from './policy.ts';

export const limitLeft = z.strictObject({
  rule: z.string(),
  counts: z
    .string()
    .describe('calls, jobs, wallMs, cpuMs or outputBytes in a window, or concurrency.'),
  max: z.number(),
  windowMs: z.int().nullable().describe('Null for concurrency.'),
  left: z.number().describe('After this call, if it fits; else what is left without it.'),
  retryAfterMs: z.int().describe('When this call would fit; 0 when it does.'),
});

export type LimitLeft = z.infer<typeof limitLeft>;

export const policyCheckRequest = z.strictObject({
  tool: z.enum(TOOLS).default('exec').describe('The tool that would be called.'),
  args: z
    .record(z.string(), z.unknown())
    .default({})
    .describe('What it would be called with; for exec and exec_batch, one job.'),
});

export const policyCheck = policyVerdict.extend({
  effective: z
    .record(z.string(), z.unknown())
    .nullable()
    .describe('The job as it would run, defaults and limits filled in; null when refused.'),
  limitsLeft: z.array(limitLeft).describe('What of each limit that counts is left.'),
});

export type PolicyCheck = z.infer<typeof policyCheck>;
