/** The tool `exec_batch`: many jobs under one id. */
import { z } from 'zod';
import type { BatchAccepted } from '../../../shared/contract/batch.ts';
import { batchAccepted, batchOptions, batchState, jobKey } from '../../../shared/contract/batch.ts';
import { jobFields } from '../../../shared/contract/request.ts';
import { jobState, outcome } from '../../../shared/contract/result.ts';
import { batchJobId } from '../batch-job.ts';
import { waitMs } from './inputs.ts';
import { batchLine } from './job-get.ts';
import type { McpParts } from './parts.ts';
import { defineTool, HINTS, type McpTool, type ToolCall } from './tool.ts';

const MAX_JOBS = 500;
const SHOWN_ITEMS = 50;

const { maxParallel, stopOnFirstFailure } = batchOptions.shape;

const own = {
  maxParallel,
  stopOnFirstFailure,
  atomic: z
    .boolean()
    .default(true)
    .describe('true: one refused job refuses all. false: refused jobs are left out and listed.'),
  waitMs: waitMs(0),
};

/** Each job is judged by itself, so that a refusal names its place. */
const input = z.strictObject({
  jobs: z.array(z.record(z.string(), z.unknown())).min(1).max(MAX_JOBS),
  defaults: batchOptions.shape.defaults,
  ...own,
});

const shown = z.strictObject({
  jobs: z
    .array(jobFields.extend({ key: jobKey.optional() }))
    .min(1)
    .max(MAX_JOBS),
  defaults: z.record(z.string(), z.unknown()).optional().describe('Fields of every job.'),
  ...own,
});

const item = z.strictObject({
  index: z.int().nonnegative().describe('Its place in `jobs`, from 0.'),
  key: z.string().nullable(),
  jobId: z.string(),
  state: jobState,
  outcome: outcome.nullable(),
});

const output = batchAccepted.extend({ state: batchState, items: z.array(item) });

type Args = z.output<typeof input>;
type Item = z.output<typeof item>;

export const execBatchTool = (parts: McpParts): McpTool =>
  defineTool({
    name: 'exec_batch',
    title: 'Run many commands in sandboxes',
    description: `Run up to ${MAX_JOBS} jobs, each in a sandbox of its own, under one id. Each job has the fields of \`exec\`, and may have a \`key\` of yours. Answers with the batch's id, its counts and each job's id and state; results come from job_get with the batchId.`,
    hints: HINTS.RUNS,
    scopes: ['exec:batch'],
    input,
    shown,
    output,
    isJudgedHere: false,
    async run(args, call) {
      const accepted = await upload(parts, args, call);
      const batch = await waited(parts, accepted, args.waitMs, call);
      const items = await itemsOf(parts, accepted.id, args, call);
      return {
        text: [
          batchLine(batch, null),
          ...batch.errors.map(({ line, detail }) => `Left out, job ${line - 1}: ${detail}`),
          ...items.slice(0, SHOWN_ITEMS).map(lineOf),
          ...(items.length > SHOWN_ITEMS ? [`And ${items.length - SHOWN_ITEMS} more.`] : []),
          `Results: job_get {"batchId": "${batch.id}", "waitMs": 25000}.`,
        ].join('\n'),
        structured: { ...batch, items },
        isError: false,
      };
    },
  });

function upload({ upload }: McpParts, args: Args, { caller }: ToolCall): Promise<BatchAccepted> {
  const { jobs, defaults, maxParallel, stopOnFirstFailure, atomic } = args;
  const options = {
    ...(defaults === undefined ? {} : { defaults }),
    ...(maxParallel === undefined ? {} : { maxParallel }),
    ...(stopOnFirstFailure === undefined ? {} : { stopOnFirstFailure }),
    onInvalid: atomic ? 'reject' : 'skip',
  } as const;
  return upload({
    caller,
    options,
    idempotencyKey: undefined,
    sameness: '',
    jobs: jobs.map((job, index) => ({ line: index + 1, index, text: JSON.stringify(job) })),
    isWhole: atomic,
  });
}

/** Whoever goes while it waits was never told the id: nobody can ask for the batch any more. */
async function waited(
  { batches, log }: McpParts,
  accepted: BatchAccepted,
  waitMs: number,
  { caller, signal, notify }: ToolCall,
): Promise<BatchAccepted> {
  const { id } = accepted;
  const cancel = (): void => {
    batches
      .cancel(caller, id)
      .catch((error: unknown) => log.debug({ err: error, batch: id }, 'not cancelled'));
  };
  if (signal.aborted) cancel();
  else signal.addEventListener('abort', cancel, { once: true });
  const deadline = Date.now() + waitMs;
  try {
    for (;;) {
      const leftMs = deadline - Date.now();
      const view = await batches.get(caller, id, Math.max(0, Math.min(leftMs, TELL_EVERY_MS)));
      const { done, total } = view.counts;
      if (leftMs <= TELL_EVERY_MS || done === total || signal.aborted) {
        return { ...accepted, ...view };
      }
      notify?.(`${done} of ${total} jobs done`);
    }
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

const TELL_EVERY_MS = 1_000;

async function itemsOf(
  { jobs }: McpParts,
  batch: string,
  args: Args,
  { caller }: ToolCall,
): Promise<Item[]> {
  const places = new Map(
    args.jobs.map(({ key: given }, index) => {
      const key = typeof given === 'string' ? given : null;
      return [batchJobId(batch, index, key), { index, key }] as const;
    }),
  );
  const page = await jobs.list(caller, {
    state: undefined,
    label: undefined,
    afterMs: undefined,
    beforeMs: undefined,
    batch,
    limit: MAX_JOBS,
    cursor: undefined,
  });
  return page.jobs.flatMap(({ id, state, outcome }) => {
    const place = places.get(id);
    return place === undefined ? [] : [{ ...place, jobId: id, state, outcome }];
  });
}

const lineOf = ({ index, key, jobId, state, outcome }: Item): string => {
  const end = outcome?.kind === 'exited' ? `exit code ${outcome.exitCode}` : outcome?.kind;
  return `${index}${key === null ? '' : ` (${key})`}: ${jobId} ${end ?? state}`;
};
