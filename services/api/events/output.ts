/** Output as it is sent: pieces of bytes by their place, what of them is new to a follower, and a stored result as pieces. */
import { isUtf8 } from 'node:buffer';
import {
  type EventPlace,
  encodeEventId,
  type OutputEvent,
} from '../../../shared/contract/event.ts';
import type { JobResult, StepResult } from '../../../shared/contract/result.ts';
import type { LivePiece } from '../../../shared/queue/live.ts';
import { brokenEnd } from '../../../shared/utf8.ts';
import type { ServerEvent } from '../sse.ts';

const PIECE_BYTES = 65_536;

export const startOf = (attempt: number): EventPlace => ({
  attempt,
  step: 0,
  stdout: 0,
  stderr: 0,
});

/** What of a piece lies behind a place: the event, and the place behind it. Undefined when all was sent before. */
export function advance(
  place: EventPlace,
  piece: LivePiece,
): { event: ServerEvent; place: EventPlace } | undefined {
  const { step, stream, bytes } = piece;
  if (step < place.step) return undefined;
  const from = step === place.step ? place : { ...startOf(place.attempt), step };
  const known = Math.max(0, from[stream] - piece.offset);
  if (known >= bytes.length) return undefined;
  const offset = piece.offset + known;
  const fresh = bytes.subarray(known);
  const next = { ...from, [stream]: offset + fresh.length };
  const data: OutputEvent = {
    step,
    stream,
    offset,
    ...(isUtf8(fresh) ? { text: fresh.toString('utf8') } : { base64: fresh.toString('base64') }),
  };
  return {
    event: { event: 'output', id: encodeEventId(next), data: JSON.stringify(data) },
    place: next,
  };
}

type Output = Pick<
  StepResult,
  | 'stdout'
  | 'stderr'
  | 'stdoutEncoding'
  | 'stderrEncoding'
  | 'stdoutBytes'
  | 'stderrBytes'
  | 'stdoutCutAt'
  | 'stderrCutAt'
>;

/** The stored output from a step on: of each step first its stdout, then its stderr. */
export function* storedPieces(result: JobResult, fromStep: number): Generator<LivePiece> {
  const steps: readonly Output[] = result.steps ?? [result];
  for (const [step, output] of steps.entries()) {
    if (step < fromStep) continue;
    for (const stream of ['stdout', 'stderr'] as const) {
      for (const { offset, bytes } of partsOf(output, stream)) {
        for (let at = 0; at < bytes.length; ) {
          const taken = bytes.subarray(at, at + PIECE_BYTES);
          const isLast = at + taken.length === bytes.length;
          const piece = isLast ? taken : taken.subarray(0, taken.length - brokenEnd(taken));
          yield { step, stream, offset: offset + at, bytes: piece };
          at += piece.length;
        }
      }
    }
  }
}

/** What lies before and after the cut, at its true offset; one part where nothing was cut. */
function partsOf(output: Output, stream: 'stdout' | 'stderr'): { offset: number; bytes: Buffer }[] {
  const bytes = Buffer.from(output[stream], output[`${stream}Encoding`]);
  const cutAt = output[`${stream}CutAt`];
  if (cutAt === null) return [{ offset: 0, bytes }];
  const tail = bytes.subarray(cutAt);
  return [
    { offset: 0, bytes: bytes.subarray(0, cutAt) },
    { offset: output[`${stream}Bytes`] - tail.length, bytes: tail },
  ];
}
