/** What a callback sends: `{type, timestamp, data}`, with the end of a job or a batch as `data`. */
import { z } from 'zod';
import { batchView } from './batch.ts';
import { jobResult, stepResult } from './result.ts';

const url = z
  .string()
  .describe('Where the rest is read; a path where the server does not know its own address.');

/** Of `job.done`: the result, as far as `content` says. */
export const jobDone = jobResult.partial().extend({
  id: z.string(),
  state: z.literal('done'),
  outcome: jobResult.shape.outcome,
  steps: z.array(stepResult.partial({ stdout: true, stderr: true })).optional(),
  content: z
    .enum(['whole', 'without_output', 'summary'])
    .describe(
      'whole: the result. without_output: all but what the program wrote. summary: what follows from the outcome alone.',
    ),
  url,
});

/** Of `batch.done`: its counts, as long as they are kept. */
export const batchDone = batchView.partial().extend({ id: z.string(), url });

export const callbackMessage = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('job.done'), timestamp: z.iso.datetime(), data: jobDone }),
  z.strictObject({ type: z.literal('batch.done'), timestamp: z.iso.datetime(), data: batchDone }),
]);

export type JobDone = z.infer<typeof jobDone>;
export type BatchDone = z.infer<typeof batchDone>;
export type CallbackMessage = z.infer<typeof callbackMessage>;
