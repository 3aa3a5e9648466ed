/** A job that waits for people's leave: what they see of it, and what they say. */
import { z } from 'zod';
import { positiveInt } from './units.ts';

export const approvalState = z.enum(['pending', 'approved', 'denied', 'expired', 'cancelled']);
export type ApprovalState = z.infer<typeof approvalState>;

const fields = z.record(z.string(), z.unknown());

const person = z.strictObject({
  grant: z.string().describe('The id of the key.'),
  name: z.string().describe('Whom the key was made for.'),
});

export const decision = z.strictObject({
  decision: z.enum(['approve', 'deny']),
  by: person.nullable().describe('Null where its time decided.'),
  at: z.iso.datetime(),
  reason: z.string().nullable(),
  edit: z
    .array(z.string())
    .describe('The paths that were changed; approvals from before then do not count any more.'),
});
export type Decision = z.infer<typeof decision>;

export const approvalSummary = z.strictObject({
  id: z.string(),
  state: approvalState,
  job: z.string(),
  batch: z.string().nullable(),
  tenant: z.string(),
  caller: person.describe('Who asked; that key and that name never decide.'),
  rule: z.string(),
  reason: z.string().describe('Why the rule wants it approved.'),
  approvers: z
    .array(z.string())
    .describe('Callers, or roles as `role:NAME`; empty: whoever has the scope policy:approve.'),
  quorum: positiveInt.describe('So many people have to approve.'),
  mayEdit: z.array(z.string()).describe('Paths of the request that an approver may change.'),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
  decidedAt: z.iso.datetime().nullable(),
  onExpire: z.enum(['deny', 'approve']),
  rememberMs: z.int().nonnegative().describe('How long it holds for the same request.'),
  fingerprint: z
    .string()
    .describe('Of what is approved: the job as it will run, its caller, the policy. As If-Match.'),
  revision: z.string().describe('The revision of the policy that asked for it.'),
  decisions: z.array(decision),
});
export type ApprovalSummary = z.infer<typeof approvalSummary>;

export const approvalView = approvalSummary.extend({
  request: fields.describe('The request as it was sent or edited, secrets masked.'),
});
export type ApprovalView = z.infer<typeof approvalView>;

export const approvalPage = z.strictObject({
  approvals: z.array(approvalSummary),
  next: z.string().nullable().describe('Send it as `cursor` for the page after; null at the end.'),
});
export type ApprovalPage = z.infer<typeof approvalPage>;

/** Text for people that goes into one line of a record. */
const reason = z
  .string()
  .min(1)
  .max(1024)
  .refine((text) => text.isWellFormed(), 'expected text without lone surrogates');

export const approveRequest = z.strictObject({
  reason: reason.optional(),
  edit: fields
    .describe('New values by path, such as {"timeoutMs": 5000}; null takes a field away.')
    .optional(),
});

export const denyRequest = z.strictObject({
  reason: reason.describe('Why; whoever asked reads it in the outcome of the job.'),
});
