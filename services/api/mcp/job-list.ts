/** The tool `job_list`: own jobs, the newest first. */
import { z } from 'zod';
import { type JobSummary, jobPage } from '../../../shared/contract/page.ts';
import { jobState } from '../../../shared/contract/result.ts';
import type { McpParts } from './parts.ts';
import { defineTool, HINTS, type McpTool } from './tool.ts';

const input = z.strictObject({
  state: jobState.optional().describe('Only jobs in this state.'),
  labels: z
    .record(z.string().min(1).max(128), z.string().max(256))
    .optional()
    .describe('Only jobs that have all of these labels.'),
  cursor: z.string().max(64).optional().describe('The `next` of the page before.'),
  limit: z
    .int()
    .min(1)
    .max(200)
    .default(20)
    .describe('Jobs of a page, before labels after the first.'),
});

export const jobListTool = ({ jobs }: McpParts): McpTool =>
  defineTool({
    name: 'job_list',
    title: 'List jobs',
    description:
      'Your jobs, the newest first, by state and labels, with a cursor. Jobs of batches are not among them: see job_get with a batchId.',
    hints: HINTS.READ_ONLY,
    scopes: ['exec:read'],
    input,
    output: jobPage,
    isJudgedHere: true,
    async run({ state, labels = {}, cursor, limit }, { caller }) {
      const [first, ...others] = Object.entries(labels);
      const page = await jobs.list(caller, {
        state,
        // The list knows one label; the others are looked for in what it finds.
        label: first?.join('='),
        afterMs: undefined,
        beforeMs: undefined,
        batch: undefined,
        limit,
        cursor,
      });
      const found = page.jobs.filter((job) =>
        others.every(([name, value]) => job.labels[name] === value),
      );
      const more = page.next === null ? [] : [`More with cursor ${JSON.stringify(page.next)}.`];
      const lines = found.length === 0 ? ['No jobs.'] : found.map(lineOf);
      return {
        text: [...lines, ...more].join('\n'),
        structured: { ...page, jobs: found },
        isError: false,
      };
    },
  });

const lineOf = ({ id, state, outcome, image, acceptedAt }: JobSummary): string => {
  const end = outcome?.kind === 'exited' ? `exit code ${outcome.exitCode}` : outcome?.kind;
  return `${id} ${end ?? state}, image ${image}, accepted ${acceptedAt}`;
};
