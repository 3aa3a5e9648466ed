/**
 * Masks text: every match of a pattern becomes its replacement, word for word. The engine takes time linear in the text
 * for each search; many matches of an odd pattern can still add up, so that the work is cut into slices.
 */
import { RE2JS } from 're2js';

export interface Redaction {
  readonly pattern: string;
  readonly replacement: string;
}

/** So many matches lie between two looks at the clock. */
const MATCHES_A_SLICE = 256;
const KEPT_PATTERNS = 256;

const compiled = new Map<string, RE2JS>();

function compile(pattern: string): RE2JS {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  const fresh = RE2JS.compile(pattern);
  if (compiled.size >= KEPT_PATTERNS) compiled.clear();
  compiled.set(pattern, fresh);
  return fresh;
}

/** Whether the engine takes all of the patterns. */
export function areUsable(redactions: readonly Redaction[]): boolean {
  try {
    for (const { pattern } of redactions) compile(pattern);
    return true;
  } catch {
    return false;
  }
}

/** Yields between slices, so that whoever runs it may let others run or give up; returns at most `maxLength` characters. */
export function* masking(
  text: string,
  redactions: readonly Redaction[],
  maxLength: number,
): Generator<undefined, string> {
  let masked = text;
  for (const { pattern, replacement } of redactions) {
    masked = yield* maskingOne(masked, compile(pattern), replacement, maxLength);
    yield;
  }
  return masked;
}

function* maskingOne(
  text: string,
  pattern: RE2JS,
  replacement: string,
  maxLength: number,
): Generator<undefined, string> {
  const matcher = pattern.matcher(text);
  const pieces: string[] = [];
  let from = 0;
  let length = 0;
  for (let matches = 1; matcher.find() && length <= maxLength; matches++) {
    if (matches % MATCHES_A_SLICE === 0) yield;
    const [start, end] = [matcher.start(), matcher.end()];
    // An empty match masks nothing, and would put a replacement between all characters.
    if (start === end) continue;
    pieces.push(text.slice(from, start), replacement);
    length += start - from + replacement.length;
    from = end;
  }
  if (length <= maxLength) pieces.push(text.slice(from));
  return pieces.join('').slice(0, maxLength);
}

/** At once: for text that is short. Throws past `untilMs`, by performance.now. */
export function mask(text: string, redactions: readonly Redaction[], untilMs = Infinity): string {
  const work = masking(text, redactions, Number.MAX_SAFE_INTEGER);
  for (let step = work.next(); ; step = work.next()) {
    if (step.done) return step.value;
    if (performance.now() > untilMs) throw new Error('masking it took too long');
  }
}

/**
 * Every string within a value, names of fields included. Throws past `untilMs`, by performance.now. One search cannot be
 * cut short: where nobody can wait for it, `longest` leaves only its length of a longer string.
 */
export function maskStrings(
  value: unknown,
  redactions: readonly Redaction[],
  untilMs: number,
  longest = Infinity,
): unknown {
  if (redactions.length === 0) return value;
  const masked = (one: unknown): unknown => {
    if (typeof one === 'string') {
      if (performance.now() > untilMs) throw new Error('masking it took too long');
      if (one.length > longest) return `[${one.length} characters: too long to be masked here]`;
      return mask(one, redactions, untilMs);
    }
    if (Array.isArray(one)) return one.map(masked);
    if (typeof one !== 'object' || one === null) return one;
    return Object.fromEntries(
      Object.entries(one).map(([key, within]) => [masked(key), masked(within)]),
    );
  };
  return masked(value);
}
