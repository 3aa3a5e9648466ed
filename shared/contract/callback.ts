/** Where the end of a job or a batch is sent to, and what is listed of it when it never arrived. */
import { z } from 'zod';

const MAX_URL_LENGTH = 2048;

const url = z
  .string()
  .min(1)
  .max(MAX_URL_LENGTH)
  .describe('An https address on the public internet, or one that the operator allows.');

/** What a job may ask for; a bare URL is the same as `{url}`. */
export const jobCallback = z
  .union([
    url,
    z.strictObject({
      url,
      includeOutput: z
        .boolean()
        .optional()
        .describe(
          'false: what the program wrote stays out. By default it is in while it is small.',
        ),
    }),
  ])
  .describe('Where the end of the job is sent to, as a signed POST; see docs/callbacks.md.');

export const batchCallback = z
  .union([url, z.strictObject({ url })])
  .describe('Where the end of the batch is sent to, as a signed POST; see docs/callbacks.md.');

export type JobCallback = z.infer<typeof jobCallback>;
export type BatchCallback = z.infer<typeof batchCallback>;

export const deadCallback = z.strictObject({
  id: z.string().describe('The `webhook-id` that it was sent with.'),
  type: z.string(),
  subject: z.string().describe('The job or batch that it is about.'),
  url: z.string(),
  at: z.iso.datetime().describe('When what it tells of happened.'),
  deadAt: z.iso.datetime().describe('When it was given up.'),
  attempts: z.int().nonnegative(),
  reason: z.string().describe('Why the last attempt failed.'),
});

export const deadCallbacks = z.strictObject({ callbacks: z.array(deadCallback) });

export const callbackSecret = z.strictObject({
  secret: z
    .string()
    .describe(
      'For libraries of Standard Webhooks; without `whsec_` in front it is meant as it is, not as base64.',
    ),
});

export type DeadCallback = z.infer<typeof deadCallback>;
