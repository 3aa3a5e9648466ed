/**
 * Masks what a program wrote before anything of it is stored. Byte counts stay those of the program. Text is searched
 * as text; output that is not UTF-8 byte by byte, so that what is ASCII of a secret is found there too. What lies before
 * and behind a cut is searched apart: between them bytes are missing.
 */
import { setImmediate as letOthersRun } from 'node:timers/promises';
import type { JobSpec } from '../../shared/contract/spec.ts';
import { masking, type Redaction } from '../../shared/redaction.ts';
import { brokenEnd } from '../../shared/utf8.ts';
import type { CapturedStream } from './capture.ts';
import type { Execution } from './execution.ts';

/** Longer in one go would hold up every other job here. */
const SLICE_MS = 20;
/** Patterns that take longer over one stream are given up, and the stream is withheld. */
const MOST_MS = 5_000;

export async function redactExecution(
  { redact, limits }: JobSpec,
  execution: Execution,
): Promise<Execution> {
  const outputs: Execution['outputs'][number][] = [];
  for (const { stdout, stderr } of execution.outputs) {
    outputs.push({
      stdout: await redactStream(stdout, redact, limits.stdoutBytes),
      stderr: await redactStream(stderr, redact, limits.stderrBytes),
    });
  }
  return { ...execution, outputs };
}

/** `maxBytes`: replacements can be longer than what they stand for; what is then too much is cut off. */
export async function redactStream(
  stream: CapturedStream,
  redactions: readonly Redaction[],
  maxBytes: number,
  mostMs = MOST_MS,
): Promise<CapturedStream> {
  const { encoding, cutAt, totalBytes } = stream;
  const bytes = Buffer.from(stream.text, encoding);
  // As Latin-1 every byte is one character.
  const as = encoding === 'utf8' ? 'utf8' : 'latin1';
  const spelled = redactions.map(({ pattern, replacement }) => ({
    pattern,
    replacement: Buffer.from(replacement).toString(as),
  }));
  const untilMs = performance.now() + mostMs;
  const maskBytes = async (piece: Buffer): Promise<Buffer | undefined> => {
    const masked = await runInSlices(masking(piece.toString(as), spelled, maxBytes), untilMs);
    return masked === undefined ? undefined : Buffer.from(masked, as);
  };
  const head = await maskBytes(bytes.subarray(0, cutAt ?? bytes.length));
  const tail = await maskBytes(bytes.subarray(cutAt ?? bytes.length));
  if (head === undefined || tail === undefined) {
    return { text: '', encoding: 'utf8', totalBytes, cutAt: 0 };
  }
  const isUtf8 = encoding === 'utf8';
  const keptHead = firstBytes(head, maxBytes, isUtf8);
  const keptTail = firstBytes(tail, maxBytes - keptHead.length, isUtf8);
  const isCut = cutAt !== null || keptHead.length < head.length;
  return {
    text: Buffer.concat([keptHead, keptTail]).toString(encoding),
    encoding,
    totalBytes,
    cutAt: isCut ? keptHead.length : null,
  };
}

function firstBytes(bytes: Buffer, most: number, isUtf8: boolean): Buffer {
  if (bytes.length <= most) return bytes;
  const first = bytes.subarray(0, most);
  return isUtf8 ? first.subarray(0, first.length - brokenEnd(first)) : first;
}

async function runInSlices(
  work: Generator<undefined, string>,
  untilMs: number,
): Promise<string | undefined> {
  let sliceUntilMs = performance.now() + SLICE_MS;
  for (let step = work.next(); ; step = work.next()) {
    if (step.done) return step.value;
    const nowMs = performance.now();
    if (nowMs > untilMs) return undefined;
    if (nowMs < sliceUntilMs) continue;
    await letOthersRun();
    sliceUntilMs = performance.now() + SLICE_MS;
  }
}
