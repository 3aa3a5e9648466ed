/** A list of jobs: of each so much that one can be chosen. */
import { z } from 'zod';
import { jobState, outcome } from './result.ts';

export const jobSummary = z.strictObject({
  id: z.string(),
  state: jobState,
  outcome: outcome.nullable(),
  image: z.string(),
  labels: z.record(z.string(), z.string()),
  acceptedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime().nullable(),
});

export const jobPage = z.strictObject({
  jobs: z.array(jobSummary),
  next: z.string().nullable().describe('Send it as `cursor` for the page after; null at the end.'),
});

export type JobSummary = z.infer<typeof jobSummary>;
export type JobPage = z.infer<typeof jobPage>;
