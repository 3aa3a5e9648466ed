/** Many jobs under one id: what a caller sends with them, and what it sees of them. */
import { z } from 'zod';
import { batchCallback } from './callback.ts';
import { jobFields } from './request.ts';
import type { Outcome } from './result.ts';
import { positiveInt } from './units.ts';

/** Most jobs of a batch that is sent as one JSON object; an NDJSON stream has no such bound. */
export const MAX_BATCH_JOBS = 10_000;

/** What holds for the batch as a whole; in an NDJSON stream the first line, as `{"batch": {…}}`. */
export const batchOptions = z.strictObject({
  defaults: jobFields
    .describe(
      'Fields of every job. `env`, `labels`, `limits` and `files` are joined with those of the job; any other field of a job replaces its default.',
    )
    .optional(),
  onInvalid: z
    .enum(['reject', 'skip'])
    .describe(
      'reject (default): the first job that is refused ends the upload. skip: it is left out.',
    )
    .optional(),
  maxParallel: positiveInt.describe('Jobs of this batch that run at once, at most.').optional(),
  stopOnFirstFailure: z
    .boolean()
    .describe('Cancel the rest once a job does not exit with 0.')
    .optional(),
  callback: batchCallback.optional(),
});

export type BatchOptions = z.infer<typeof batchOptions>;

/** The caller's name of a job in its batch: sending it again changes nothing. */
export const jobKey = z
  .string()
  .min(1)
  .max(256)
  .refine((text) => text.isWellFormed(), 'expected text without lone surrogates')
  .describe('Your name of the job in its batch; the same key twice is the same job.');

/** The jobs as they come: each is judged alone. */
export const batchRequest = batchOptions.extend({
  jobs: z.array(z.unknown()).min(1).max(MAX_BATCH_JOBS),
});

const count = z.int().nonnegative();

/** Outcomes as a batch counts them. */
export const OUTCOME_COUNTS = [
  'exited_zero',
  'exited_nonzero',
  'signaled',
  'timed_out',
  'out_of_memory',
  'output_limit',
  'could_not_start',
  'cancelled',
  'expired',
  'denied',
  'lost',
] as const;

export type OutcomeCount = (typeof OUTCOME_COUNTS)[number];

export const countedAs = (outcome: Outcome): OutcomeCount => {
  if (outcome.kind !== 'exited') return outcome.kind;
  return outcome.exitCode === 0 ? 'exited_zero' : 'exited_nonzero';
};

export const batchState = z
  .enum(['open', 'running', 'done', 'cancelled'])
  .describe(
    'open: its upload has not ended. cancelled: from the request on, also while jobs still end.',
  );

export const lineError = z.strictObject({
  line: positiveInt.describe('Line of the stream, or place in `jobs`, counted from 1.'),
  code: z.string(),
  detail: z.string(),
  field: z.string().optional(),
});

export type LineError = z.infer<typeof lineError>;

export const batchView = z.strictObject({
  id: z.string(),
  state: batchState,
  counts: z.strictObject({ total: count, queued: count, running: count, done: count }),
  outcomes: z.record(z.enum(OUTCOME_COUNTS), count),
  createdAt: z.iso.datetime(),
});

/** Answer to an upload. */
export const batchAccepted = batchView.extend({
  skipped: count.describe('Jobs of this upload that were refused, with `onInvalid: skip`.'),
  errors: z.array(lineError).describe('The first refusals of this upload.'),
});

export type BatchState = z.infer<typeof batchState>;
export type BatchView = z.infer<typeof batchView>;
export type BatchAccepted = z.infer<typeof batchAccepted>;
