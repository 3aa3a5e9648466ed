/**
 * Regular expressions and globs of a document. They run over text that a caller made up, so the engine takes time
 * linear in its length whatever the pattern (RE2's algorithms), and both are bounded: a source of 512 characters, a
 * program of 2,000 instructions, and 4 KiB of subject. A longer subject is not cut, since padding would then hide
 * what a rule looks for: whoever judges refuses the call (`SubjectTooLong`).
 */
import { RE2JS } from 're2js';
import { z } from 'zod';
import { utf8Bytes } from '../../../shared/contract/units.ts';

const MAX_SOURCE_LENGTH = 512;
const MAX_INSTRUCTIONS = 2_000;
export const MAX_SUBJECT_BYTES = 4_096;
/** Of UTF-8 for one UTF-16 unit, at most. */
const MOST_BYTES_EACH = 3;

export class SubjectTooLong extends Error {
  constructor(bytes: number, most: number) {
    super(`patterns read at most ${most} bytes; came ${bytes}`);
    this.name = 'SubjectTooLong';
  }
}

export type Matches = (subject: string) => boolean;

function compile(source: string): RE2JS {
  if (source.length > MAX_SOURCE_LENGTH) {
    throw new Error(`expected at most ${MAX_SOURCE_LENGTH} characters; came ${source.length}`);
  }
  const pattern = RE2JS.compile(source);
  if (pattern.programSize() > MAX_INSTRUCTIONS) {
    throw new Error('expected a smaller pattern: its repetitions unfold to too much');
  }
  return pattern;
}

function refuseLong(subject: string): void {
  if (subject.length * MOST_BYTES_EACH <= MAX_SUBJECT_BYTES) return;
  const bytes = utf8Bytes(subject);
  if (bytes > MAX_SUBJECT_BYTES) throw new SubjectTooLong(bytes, MAX_SUBJECT_BYTES);
}

/** True where the pattern is found anywhere in the subject. Throws SubjectTooLong. */
export function compileRegex(source: string): Matches {
  const pattern = compile(source);
  return (subject) => {
    refuseLong(subject);
    return pattern.test(subject);
  };
}

/** `*` is any run of characters, slashes too; `?` is one. The whole subject has to match. Throws SubjectTooLong. */
export function compileGlob(glob: string): Matches {
  if (!/[*?]/.test(glob)) return (subject) => subject === glob;
  if (glob === '*') return () => true;
  const source = [...glob].map((one) =>
    one === '*' ? '.*' : one === '?' ? '.' : RE2JS.quote(one),
  );
  const pattern = compile(`(?s)^${source.join('')}$`);
  return (subject) => {
    refuseLong(subject);
    return pattern.test(subject);
  };
}

export function compileGlobs(globs: readonly string[]): Matches {
  const each = globs.map(compileGlob);
  return (subject) => each.some((matches) => matches(subject));
}

const compiling = (compileOne: (source: string) => unknown) =>
  z
    .string()
    .min(1)
    .superRefine((source, context) => {
      try {
        compileOne(source);
      } catch (error) {
        const message = `expected a pattern of RE2: ${(error as Error).message}`;
        context.addIssue({ code: 'custom', message });
      }
    });

export const regexSource = compiling(compileRegex);
export const globSource = compiling(compileGlob);
