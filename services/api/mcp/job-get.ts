/** The tool `job_get`: results of jobs by their ids, or of a batch in the order in which they ended. */
import { z } from 'zod';
import { batchView } from '../../../shared/contract/batch.ts';
import { type JobResult, jobResult } from '../../../shared/contract/result.ts';
import { AppError } from '../../../shared/errors.ts';
import { readRecords } from '../../../shared/queue/job-record.ts';
import type { JobView } from '../jobs.ts';
import { jobId } from '../routes/jobs.ts';
import { parseBatchId } from '../routes/server-types.ts';
import { batchId, exactlyOne, jobIds, maxOutputChars, waitMs as waitMsInput } from './inputs.ts';
import type { McpParts } from './parts.ts';
import { reportProgress } from './progress.ts';
import { isErrorEnd, renderResult } from './render.ts';
import { defineTool, HINTS, type McpTool, type ToolAnswer, type ToolCall } from './tool.ts';
import { parse } from './wait-for-job.ts';

const MAX_JOBS = 50;
const MAX_LIMIT = 100;
/** Of all results in one answer; a single one may be larger. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

const input = z.strictObject({
  jobIds: jobIds(MAX_JOBS).optional(),
  batchId: batchId.optional(),
  waitMs: waitMsInput(0),
  until: z
    .enum(['any', 'all'])
    .default('all')
    .describe('Whether the wait ends with the first job that is done, or with the last.'),
  cursor: z
    .string()
    .max(64)
    .optional()
    .describe('With batchId: the `cursor` of the answer before; results after it.'),
  limit: z.int().min(1).max(MAX_LIMIT).default(20).describe('With batchId: results at once.'),
  maxOutputChars,
});

const output = z.strictObject({
  jobs: z.array(jobResult),
  unknown: z.array(z.string()).describe('Ids that name no job of yours.'),
  left: z.array(z.string()).describe('Ids whose results did not fit into this answer.'),
  places: z
    .array(z.strictObject({ jobId: z.string(), index: z.int(), key: z.string().nullable() }))
    .describe('With batchId: which job of the batch each of these results is of.'),
  batch: batchView.nullable(),
  cursor: z
    .string()
    .nullable()
    .describe('With batchId: goes on after these results; null when no more will come.'),
});

type Args = z.output<typeof input>;
type Answer = z.output<typeof output>;

export const jobGetTool = (parts: McpParts): McpTool =>
  defineTool({
    name: 'job_get',
    title: 'Get results of jobs',
    description:
      'Results of jobs by `jobIds`, or of a batch by `batchId` (in the order in which its jobs ended, by pages). With `waitMs` it waits until any or all are done. A job that is not done answers with its state.',
    hints: HINTS.READ_ONLY,
    scopes: ['exec:read'],
    input,
    output,
    isJudgedHere: true,
    async run(args, call) {
      exactlyOne(args, ['jobIds', 'batchId']);
      const answer = args.batchId === undefined ? byIds : byBatch;
      return answered(await answer(parts, args, call), args);
    },
  });

async function byIds(parts: McpParts, args: Args, call: ToolCall): Promise<Answer> {
  const ids = [...new Set(args.jobIds)];
  const known = await ownIds(parts, ids, call);
  if (args.waitMs > 0 && known.length > 0) await waitFor(parts, known, args, call);
  const jobs: JobResult[] = [];
  const left: string[] = [];
  const gone: string[] = [];
  let bytes = 0;
  // One after another: many large results at once are more than a process should hold.
  for (const id of known) {
    const view = bytes < MAX_ANSWER_BYTES ? await viewOf(parts, id, call) : null;
    if (view === undefined) {
      gone.push(id);
      continue;
    }
    bytes += view?.json.length ?? 0;
    if (view === null || (jobs.length > 0 && bytes > MAX_ANSWER_BYTES)) left.push(id);
    else jobs.push(parse(view));
  }
  const unknown = ids.filter((id) => !known.includes(id) || gone.includes(id));
  return { jobs, unknown, left, places: [], batch: null, cursor: null };
}

async function ownIds(
  { redis }: McpParts,
  ids: readonly string[],
  { caller }: ToolCall,
): Promise<string[]> {
  const wellFormed = ids.filter((id) => jobId.safeParse(id).success);
  const records = await readRecords(redis, wellFormed);
  return wellFormed.filter((_, index) => records[index]?.tenant === caller.tenant);
}

/** Undefined when it is not kept any more. */
async function viewOf(
  { jobs }: McpParts,
  id: string,
  { caller }: ToolCall,
): Promise<JobView | undefined> {
  try {
    return await jobs.get(caller, id, 0);
  } catch (error) {
    if (error instanceof AppError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

async function waitFor(
  { jobs, redis }: McpParts,
  ids: readonly string[],
  { waitMs, until }: Args,
  { caller, signal, notify }: ToolCall,
): Promise<void> {
  const settled = new AbortController();
  const [only] = ids;
  if (notify !== undefined && only !== undefined && ids.length === 1) {
    void reportProgress(redis, { id: only, notify, signal: settled.signal });
  }
  const waits = ids.map((id) => jobs.get(caller, id, waitMs));
  const all = Promise.all(waits);
  all.catch(() => {});
  const left = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true, signal: settled.signal });
  });
  await Promise.race([until === 'all' ? all : Promise.race(waits), left]);
  settled.abort();
}

async function byBatch(parts: McpParts, args: Args, call: ToolCall): Promise<Answer> {
  const id = parseBatchId(args.batchId ?? '');
  const { caller, signal } = call;
  const reading = AbortSignal.any([signal, AbortSignal.timeout(args.waitMs + READ_WITHIN_MS)]);
  if (args.until === 'all') await parts.batches.get(caller, id, args.waitMs);
  const waiting = args.until === 'any' && args.waitMs > 0;
  const jobs: JobResult[] = [];
  const places: Answer['places'] = [];
  let cursor = args.cursor ?? null;
  const from = (follow: boolean) => ({ cursor: cursor ?? undefined, follow, signal: reading });
  if (waiting) await firstEnd(parts, id, call, args);
  // Seen before the results are: when it was over then, all of it has been read.
  const before = await parts.batches.get(caller, id, 0);
  const isOver = before.state !== 'open' && before.counts.done === before.counts.total;
  let bytes = 0;
  for await (const chunk of await parts.batchResults.lines(caller, id, from(false))) {
    for (const line of chunk.split('\n').filter((one) => one !== '')) {
      if (
        jobs.length >= args.limit ||
        (jobs.length > 0 && bytes + line.length > MAX_ANSWER_BYTES)
      ) {
        const batch = await parts.batches.get(caller, id, 0);
        return { jobs, unknown: [], left: [], places, batch, cursor };
      }
      const { index, key, cursor: place, ...result } = JSON.parse(line);
      bytes += line.length;
      cursor = place;
      // One whose own retention is over has no result any more.
      if (result.outcome === null) continue;
      jobs.push(result as JobResult);
      places.push({ jobId: result.id, index, key });
    }
  }
  const batch = isOver ? before : await parts.batches.get(caller, id, 0);
  return { jobs, unknown: [], left: [], places, batch, cursor: isOver ? null : cursor };
}

/** What reading may take on top of a wait. */
const READ_WITHIN_MS = 10_000;

/** Until a job ends that lies behind the cursor, or the wait is over. */
async function firstEnd(
  { batchResults }: McpParts,
  id: string,
  { caller, signal }: ToolCall,
  { waitMs, cursor }: Args,
): Promise<void> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(waitMs)]);
  const ends = await batchResults.ended(caller, id, { cursor, follow: true, signal: within });
  await ends.next();
  await ends.return(undefined);
}

function answered(answer: Answer, { maxOutputChars }: Args): ToolAnswer {
  const { jobs, unknown, left, batch, cursor } = answer;
  const each = Math.floor(maxOutputChars / Math.max(1, jobs.length));
  const [only] = jobs;
  const isAlone = jobs.length === 1 && batch === null && unknown.length === 0 && left.length === 0;
  const lines = [
    ...(batch === null ? [] : [batchLine(batch, cursor)]),
    ...jobs.map((job) => renderResult(job, each)),
    ...(unknown.length === 0 ? [] : [`No job of yours: ${unknown.join(', ')}.`]),
    ...(left.length === 0 ? [] : [`Did not fit, ask again for: ${left.join(', ')}.`]),
  ];
  return {
    text: lines.join('\n\n'),
    structured: answer,
    isError: isAlone && only !== undefined ? isErrorEnd(only) : jobs.length === 0 && batch === null,
  };
}

export function batchLine(batch: z.output<typeof batchView>, cursor: string | null): string {
  const { total, queued, running, done } = batch.counts;
  const ends = Object.entries(batch.outcomes)
    .filter(([, count]) => count > 0)
    .map(([end, count]) => `${count} ${end}`)
    .join(', ');
  const next = cursor === null ? '' : ` What comes after these: cursor ${JSON.stringify(cursor)}.`;
  return `Batch ${batch.id} is ${batch.state}: ${done} of ${total} done${ends === '' ? '' : ` (${ends})`}, ${running} running, ${queued} queued.${next}`;
}
