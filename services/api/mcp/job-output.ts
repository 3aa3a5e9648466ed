/** The tool `job_output`: a piece of what a job wrote or of an artifact, also while the job runs. */
import { z } from 'zod';
import { jobState } from '../../../shared/contract/result.ts';
import { AppError } from '../../../shared/errors.ts';
import { exactlyOne, oneJobId, requireJobId } from './inputs.ts';
import { type KnownOutput, readOutput } from './output-bytes.ts';
import type { McpParts } from './parts.ts';
import { matchesIn, type Slice, sliceAt, tailOf } from './slice.ts';
import { defineTool, HINTS, type McpTool, type ToolCall } from './tool.ts';

const MAX_BYTES = 1024 * 1024;

const input = z.strictObject({
  jobId: oneJobId,
  stream: z.enum(['stdout', 'stderr']).optional(),
  artifact: z.string().min(1).max(4096).optional().describe('Or the path of an artifact.'),
  step: z.int().min(0).max(15).optional().describe('With steps: which, from 0. Else the last.'),
  offsetBytes: z.int().min(0).default(0).describe('Where to begin, in bytes.'),
  maxBytes: z.int().min(1).max(MAX_BYTES).default(16_384),
  tailLines: z.int().min(1).max(10_000).optional().describe('Only the last lines.'),
  grep: z
    .string()
    .min(1)
    .max(512)
    .optional()
    .describe('Only lines that match this regular expression (RE2).'),
});

const count = z.int().nonnegative();

const output = z.strictObject({
  jobId: z.string(),
  state: jobState,
  source: z.string().describe('stdout, stderr, or the path of the artifact.'),
  step: count.nullable(),
  content: z.string(),
  encoding: z.enum(['utf8', 'base64']),
  offsetBytes: count.describe(
    'Of the first byte of this piece; behind the one asked for in a gap.',
  ),
  nextOffset: count.describe('Send it as `offsetBytes` to go on.'),
  totalBytes: count.describe('Written in all, so far.'),
  isEnd: z.boolean().describe('Whether nothing comes behind this piece any more.'),
  matches: count.nullable().describe('Lines that matched, with `grep`.'),
});

type Args = z.output<typeof input>;

export const jobOutputTool = (parts: McpParts): McpTool =>
  defineTool({
    name: 'job_output',
    title: 'Read the output of a job',
    description:
      'A piece of the stdout or stderr of a job, or of one of its artifacts: from `offsetBytes` on, or the last lines (`tailLines`), or the lines that match (`grep`). Works while the job runs.',
    hints: HINTS.READ_ONLY,
    scopes: ['exec:read'],
    input,
    output,
    isJudgedHere: true,
    async run(args, call) {
      exactlyOne(args, ['stream', 'artifact']);
      if (args.tailLines !== undefined && args.grep !== undefined) {
        throw new AppError('REQUEST_INVALID', {
          detail: 'expected `tailLines` or `grep`; came both',
        });
      }
      const id = requireJobId(args.jobId);
      const known = await knownOf(parts, id, args, call);
      const { matches, ...slice } = pieceOf(known, args);
      const isEnd = known.state === 'done' && slice.nextOffset >= known.totalBytes;
      const structured = {
        jobId: id,
        state: known.state,
        source: args.stream ?? args.artifact ?? '',
        step: args.stream === undefined ? null : known.step,
        ...slice,
        totalBytes: known.totalBytes,
        isEnd,
        matches,
      };
      return { text: textOf(structured, known), structured, isError: false };
    },
  });

async function knownOf(
  parts: McpParts,
  id: string,
  { stream, artifact, step }: Args,
  call: ToolCall,
): Promise<KnownOutput> {
  if (stream !== undefined) return readOutput(parts, { id, stream, step }, call);
  const bytes = await parts.jobs.artifact(call.caller, id, artifact ?? '');
  return { state: 'done', parts: [{ offset: 0, bytes }], totalBytes: bytes.length, step: 0 };
}

function pieceOf(
  { parts }: KnownOutput,
  { tailLines, grep, offsetBytes, maxBytes }: Args,
): Slice & { matches: number | null } {
  if (grep !== undefined) return matchesIn(parts, { pattern: grep, offset: offsetBytes, maxBytes });
  const slice =
    tailLines === undefined
      ? sliceAt(parts, offsetBytes, maxBytes)
      : tailOf(parts, tailLines, maxBytes);
  return { ...slice, matches: null };
}

function textOf(slice: z.output<typeof output>, { state }: KnownOutput): string {
  const { source, offsetBytes, nextOffset, totalBytes, content, encoding, matches, isEnd } = slice;
  const what = encoding === 'base64' ? `${source}, not text, in base64` : source;
  const found = matches === null ? '' : `, ${matches} lines match`;
  const head = `${what}: bytes ${offsetBytes} to ${nextOffset} of ${totalBytes}${found}.`;
  const more = `Go on with offsetBytes ${nextOffset}.`;
  const rest = isEnd ? 'That is all.' : state === 'done' ? more : `The job is ${state}. ${more}`;
  return [head, ...(content === '' ? [] : [content]), rest].join('\n');
}
