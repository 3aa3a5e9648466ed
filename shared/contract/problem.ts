/** How every refusal and failure is answered: RFC 9457, with a code from the error table. */
import { z } from 'zod';
import { ERRORS } from '../error-table.ts';
import { policyVerdict } from './policy.ts';

export const problem = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.enum(Object.keys(ERRORS) as [string, ...string[]]),
    detail: z.string().describe('What was expected and what came.'),
    field: z.string().optional().describe('The field at fault, where it is one.'),
    line: z.int().optional().describe('The line of the stream at fault, where it is one.'),
    batch: z.string().optional().describe('The batch that the refused upload went to.'),
    policy: policyVerdict.optional().describe('What the policy said, where it was the policy.'),
    retryable: z.boolean().describe('Whether the same request may succeed later.'),
    remedy: z.string().describe('What to do.'),
    requestId: z.string(),
  })
  .describe('A refusal or failure; docs/errors.md lists the codes.');

export type Problem = z.infer<typeof problem>;
