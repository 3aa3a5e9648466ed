/** What a job wrote, as far as it is known now: from the stored result, or from the live output while it runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { JobState } from '../../../shared/contract/result.ts';
import { AppError } from '../../../shared/errors.ts';
import { followJob, type LivePiece, readLive } from '../../../shared/queue/live.ts';
import { storedPieces } from '../events/output.ts';
import type { McpParts } from './parts.ts';
import type { ToolCall } from './tool.ts';
import { parse } from './wait-for-job.ts';

/** So long a running job's worker is given to send what it has. */
const ASKED_FOR_MS = 1_500;
const LOOK_MS = 50;

export interface Part {
  /** Of its first byte among all that was written. */
  readonly offset: number;
  readonly bytes: Buffer;
}

export interface KnownOutput {
  readonly state: JobState;
  /** In order, without overlap; a gap between two is what nobody kept. */
  readonly parts: readonly Part[];
  /** Written in all, so far. */
  readonly totalBytes: number;
  /** The step they are of, counted from 0. */
  readonly step: number;
}

interface Wanted {
  readonly id: string;
  readonly stream: 'stdout' | 'stderr';
  /** A step by its place; undefined: the last. */
  readonly step: number | undefined;
}

export async function readOutput(
  parts: McpParts,
  { id, stream, step }: Wanted,
  { caller, signal }: Pick<ToolCall, 'caller' | 'signal'>,
): Promise<KnownOutput> {
  const view = await parts.jobs.get(caller, id, 0);
  if (!view.isDone) {
    const live = await liveOutput(parts.redis, { id, stream, step }, signal);
    if (live !== undefined) return live;
    const ended = await parts.jobs.get(caller, id, 0);
    if (!ended.isDone) return { state: parse(ended).state, parts: [], totalBytes: 0, step: 0 };
    return storedOutput(ended.json, { stream, step });
  }
  return storedOutput(view.json, { stream, step });
}

function storedOutput(json: string, { stream, step }: Omit<Wanted, 'id'>): KnownOutput {
  const result = parse({ json });
  const count = result.steps?.length ?? 1;
  const wanted = step ?? Math.max(0, count - 1);
  const written = result.steps === undefined ? result : result.steps[wanted];
  if (written === undefined || wanted >= Math.max(1, count)) throw noStep(wanted, count);
  const pieces = [...storedPieces(result, wanted)].filter(
    (piece) => piece.step === wanted && piece.stream === stream,
  );
  const totalBytes = written[`${stream}Bytes`];
  return { state: 'done', parts: pieces, totalBytes, step: wanted };
}

const noStep = (step: number, count: number): AppError =>
  new AppError('REQUEST_INVALID', {
    field: 'step',
    detail: `step: expected 0 to ${count - 1}, the steps that were started; came ${step}`,
  });

/** Undefined when the job ended meanwhile, or is not running. */
async function liveOutput(
  redis: Redis,
  { id, stream, step }: Wanted,
  signal: AbortSignal,
): Promise<KnownOutput | undefined> {
  const deadline = Date.now() + ASKED_FOR_MS;
  let pieces: LivePiece[] = [];
  let start = 0;
  await followJob(redis, id);
  while (!signal.aborted) {
    const seen = await readLive(redis, { id, start, index: pieces.length });
    if (seen?.state !== 'running') return undefined;
    if (seen.start !== start) {
      start = seen.start;
      pieces = [];
      continue;
    }
    pieces.push(...seen.pieces);
    if (seen.pieces.length > 0) continue;
    if (pieces.length > 0 || Date.now() > deadline) break;
    await sleep(LOOK_MS);
  }
  const wanted = step ?? pieces.reduce((last, piece) => Math.max(last, piece.step), 0);
  const parts = withoutOverlap(
    pieces.filter((one) => one.step === wanted && one.stream === stream),
  );
  const last = parts.at(-1);
  const totalBytes = last === undefined ? 0 : last.offset + last.bytes.length;
  return { state: 'running', parts, totalBytes, step: wanted };
}

/** A piece may have been sent twice. */
function withoutOverlap(pieces: readonly LivePiece[]): Part[] {
  const parts: Part[] = [];
  let reached = 0;
  for (const { offset, bytes } of pieces) {
    const known = Math.max(0, reached - offset);
    if (known >= bytes.length) continue;
    parts.push({ offset: offset + known, bytes: bytes.subarray(known) });
    reached = offset + bytes.length;
  }
  return parts;
}
