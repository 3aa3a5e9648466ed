/** A piece of what was written: from an offset, the last lines, or the lines that match. No character is split. */
import { isUtf8 } from 'node:buffer';
import { RE2JS } from 're2js';
import { AppError } from '../../../shared/errors.ts';
import { brokenEnd, brokenStart } from '../../../shared/utf8.ts';
import type { Part } from './output-bytes.ts';

export interface Slice {
  readonly content: string;
  readonly encoding: 'utf8' | 'base64';
  /** Of its first byte. */
  readonly offsetBytes: number;
  /** Where to go on. */
  readonly nextOffset: number;
}

/** A pattern is looked for in so much at a time, in less where it is a large one: the rest is the next call's. */
const SEARCHED_BYTES = 1024 * 1024;
const MAX_PATTERN = 512;
/** Time linear in the text is still a time for each instruction and byte: all of one call, a fraction of a second. */
const MAX_STEPS = 20_000_000;
const MAX_INSTRUCTIONS = 2_000;
/** Of a longer line only the start is searched and shown. */
const MAX_LINE = 4_096;

/** What lies at an offset; in a gap, what lies behind it. */
export function sliceAt(parts: readonly Part[], offset: number, maxBytes: number): Slice {
  const part = parts.find((one) => one.offset + one.bytes.length > offset);
  if (part === undefined)
    return { ...coded(Buffer.alloc(0)), offsetBytes: offset, nextOffset: offset };
  const from = Math.max(0, offset - part.offset);
  const gathered = joinFrom(parts, part, from, maxBytes);
  const whole = gathered.subarray(0, gathered.length - splitAtEnd(gathered, maxBytes));
  const offsetBytes = part.offset + from;
  return { ...coded(whole), offsetBytes, nextOffset: offsetBytes + whole.length };
}

/** Only a cut that we made is moved; what the program left unfinished stays as it is. */
const splitAtEnd = (bytes: Buffer, maxBytes: number): number => {
  const broken = bytes.length === maxBytes ? brokenEnd(bytes) : 0;
  return broken < bytes.length ? broken : 0;
};

/** Parts that follow each other without a gap are one. */
function joinFrom(parts: readonly Part[], first: Part, from: number, maxBytes: number): Buffer {
  const pieces: Buffer[] = [];
  let reached = first.offset + from;
  let left = maxBytes;
  for (const { offset, bytes } of parts.slice(Math.max(0, parts.indexOf(first)))) {
    if (left === 0 || offset > reached) break;
    const piece = bytes.subarray(reached - offset).subarray(0, left);
    if (piece.length === 0) continue;
    pieces.push(piece);
    reached += piece.length;
    left -= piece.length;
  }
  return Buffer.concat(pieces);
}

/** The last lines of what is known, at most so many bytes of them. */
export function tailOf(parts: readonly Part[], lines: number, maxBytes: number): Slice {
  const end = endOf(parts);
  const run = lastRun(parts);
  const first = run[0] ?? NOTHING;
  const from = Math.max(0, end - maxBytes - first.offset);
  const bytes = joinFrom(run, first, from, maxBytes);
  const start = Math.max(startOfLast(bytes, lines), from > 0 ? brokenStart(bytes) : 0);
  const tail = bytes.subarray(start);
  return { ...coded(tail), offsetBytes: end - tail.length, nextOffset: end };
}

/** Where so many last lines begin; a newline at the very end closes the last of them. */
function startOfLast(bytes: Buffer, lines: number): number {
  let at = bytes.at(-1) === NEWLINE ? bytes.length - 1 : bytes.length;
  for (let seen = 0; seen < lines; seen++) {
    at = at > 0 ? bytes.lastIndexOf(NEWLINE, at - 1) : -1;
    if (at < 0) return 0;
  }
  return at + 1;
}

const NEWLINE = 0x0a;
const NOTHING: Part = { offset: 0, bytes: Buffer.alloc(0) };

const endOf = (parts: readonly Part[]): number => {
  const last = parts.at(-1);
  return last === undefined ? 0 : last.offset + last.bytes.length;
};

/** The parts behind the last gap: all of a stream that lost nothing. */
function lastRun(parts: readonly Part[]): readonly Part[] {
  let first = Math.max(0, parts.length - 1);
  while (first > 0) {
    const before = parts[first - 1] ?? NOTHING;
    if (before.offset + before.bytes.length !== parts[first]?.offset) break;
    first--;
  }
  return parts.slice(first);
}

/** The lines that match, from an offset on, within a bounded stretch; `nextOffset` is where the search stopped. */
export function matchesIn(
  parts: readonly Part[],
  { pattern, offset, maxBytes }: { pattern: string; offset: number; maxBytes: number },
): Slice & { readonly matches: number } {
  const compiled = compile(pattern);
  const searched = Math.min(SEARCHED_BYTES, Math.ceil(MAX_STEPS / compiled.programSize()));
  const stretch = sliceAt(parts, offset, searched);
  const bytes = Buffer.from(stretch.content, stretch.encoding);
  const found: string[] = [];
  let size = 0;
  let at = 0;
  const isLast = stretch.nextOffset >= endOf(parts);
  while (at < bytes.length) {
    const end = bytes.indexOf(NEWLINE, at);
    // A line that the stretch cuts is the next call's, unless nothing but it is there.
    if (end < 0 && !isLast && at > 0) break;
    const line = bytes.subarray(at, end < 0 ? bytes.length : end).toString('utf8');
    const shown = line.slice(0, MAX_LINE);
    if (compiled.matcher(shown).find()) {
      if (found.length > 0 && size + shown.length + 1 > maxBytes) break;
      found.push(shown);
      size += shown.length + 1;
    }
    at = end < 0 ? bytes.length : end + 1;
  }
  const content = found.map((line) => `${line}\n`).join('');
  const { offsetBytes } = stretch;
  return {
    content,
    encoding: 'utf8',
    offsetBytes,
    nextOffset: offsetBytes + at,
    matches: found.length,
  };
}

/** Of an engine whose time is linear in the text, so that no pattern holds up everybody. */
function compile(pattern: string): RE2JS {
  try {
    if (pattern.length > MAX_PATTERN) throw new Error(`longer than ${MAX_PATTERN} characters`);
    const compiled = RE2JS.compile(pattern);
    if (compiled.programSize() > MAX_INSTRUCTIONS) {
      throw new Error('its repetitions unfold to too much');
    }
    return compiled;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('REQUEST_INVALID', {
      field: 'grep',
      detail: `grep: expected a regular expression of RE2; came one that is not: ${why}`,
      cause,
    });
  }
}

const coded = (bytes: Buffer): Pick<Slice, 'content' | 'encoding'> =>
  isUtf8(bytes)
    ? { content: bytes.toString('utf8'), encoding: 'utf8' }
    : { content: bytes.toString('base64'), encoding: 'base64' };
