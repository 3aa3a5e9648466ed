/** The tool `job_cancel`: asks for the end of jobs, or of a whole batch. */
import { z } from 'zod';
import { batchView } from '../../../shared/contract/batch.ts';
import { jobState, outcome } from '../../../shared/contract/result.ts';
import { AppError } from '../../../shared/errors.ts';
import { parseBatchId } from '../routes/server-types.ts';
import { batchId, exactlyOne, jobIds, requireJobId } from './inputs.ts';
import { batchLine } from './job-get.ts';
import type { McpParts } from './parts.ts';
import { defineTool, HINTS, type McpTool, type ToolCall } from './tool.ts';
import { parse } from './wait-for-job.ts';

const MAX_JOBS = 100;

const input = z.strictObject({
  jobIds: jobIds(MAX_JOBS).optional(),
  batchId: batchId.optional(),
});

const item = z.strictObject({
  jobId: z.string(),
  state: jobState.nullable().describe('Null when there is no such job of yours.'),
  outcome: outcome.nullable(),
});

const output = z.strictObject({ jobs: z.array(item), batch: batchView.nullable() });

export const jobCancelTool = (parts: McpParts): McpTool =>
  defineTool({
    name: 'job_cancel',
    title: 'Cancel jobs',
    description:
      'Asks for the end of jobs by `jobIds`, or of all jobs of a batch by `batchId`. What is done stays as it is; doing it again changes nothing.',
    hints: HINTS.ENDS,
    scopes: ['exec:cancel'],
    input,
    output,
    isJudgedHere: true,
    async run(args, call) {
      exactlyOne(args, ['jobIds', 'batchId']);
      if (args.batchId !== undefined) {
        const batch = await parts.batches.cancel(call.caller, parseBatchId(args.batchId));
        return { text: batchLine(batch, null), structured: { jobs: [], batch }, isError: false };
      }
      const ids = [...new Set(args.jobIds)];
      const jobs = await Promise.all(ids.map((id) => cancel(parts, id, call)));
      const isError = jobs.every(({ state }) => state === null);
      return { text: jobs.map(lineOf).join('\n'), structured: { jobs, batch: null }, isError };
    },
  });

type Item = z.output<typeof item>;

async function cancel({ jobs }: McpParts, id: string, { caller }: ToolCall): Promise<Item> {
  try {
    const { state, outcome } = parse(await jobs.cancel(caller, requireJobId(id)));
    return { jobId: id, state, outcome };
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'NOT_FOUND') throw error;
    return { jobId: id, state: null, outcome: null };
  }
}

function lineOf({ jobId, state, outcome }: Item): string {
  if (state === null) return `${jobId}: no job of yours.`;
  if (outcome === null) return `${jobId}: ${state}; its end was asked for.`;
  return `${jobId}: done (${outcome.kind}).`;
}
