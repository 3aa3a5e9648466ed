/** The pieces that requests and specs are made of: bounded text, paths beneath /work, names of variables. */
import { z } from 'zod';

const MAX_PATH_BYTES = 1024;
const MAX_NAME_BYTES = 255;

export const utf8Bytes = (text: string): number => Buffer.byteLength(text, 'utf8');

/** A lone surrogate has no UTF-8 form: it would reach the program as other bytes than were sent. */
const hasNoNulOrLoneSurrogate = (text: string): boolean =>
  !text.includes('\0') && text.isWellFormed();

/** Text that can be an argument, a variable or a file's content line: no NUL, valid Unicode. */
export const cleanText = (maxBytes: number) =>
  z
    .string()
    .refine(hasNoNulOrLoneSurrogate, 'expected text without NUL and without lone surrogates')
    .refine((text) => utf8Bytes(text) <= maxBytes, `expected at most ${maxBytes} bytes of UTF-8`);

const whatIsWrongWithPath = (path: string): string | undefined => {
  if (path === '') return 'expected a path, came an empty string';
  if (!hasNoNulOrLoneSurrogate(path)) return 'expected a path without NUL and lone surrogates';
  if (path.startsWith('/')) return 'expected a path relative to /work, came an absolute one';
  if (path.includes('\\')) return 'expected a path with forward slashes';
  if (utf8Bytes(path) > MAX_PATH_BYTES) return `expected at most ${MAX_PATH_BYTES} bytes`;
  for (const part of path.split('/')) {
    if (part === '' || part === '.' || part === '..') {
      return `expected a plain relative path, came a component ${JSON.stringify(part)}`;
    }
    if (utf8Bytes(part) > MAX_NAME_BYTES) {
      return `expected components of at most ${MAX_NAME_BYTES} bytes`;
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
    if (/[\x00-\x1f\x7f]/.test(part)) return 'expected a path without control characters';
  }
  return undefined;
};

/** A path beneath /work: relative, plain components, no control characters. */
export const workPath = z.string().superRefine((path, context) => {
  const fault = whatIsWrongWithPath(path);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

/** A glob beneath /work; the same rules as a path, with `*`, `?`, `[…]` and `**` in its components. */
export const workGlob = workPath;

/** A name that a shell could hold: letters, digits, underscore. */
export const variableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,254}$/, 'expected a name of letters, digits and underscores');

/** Content by its digest. */
export const blobName = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, 'expected sha256: and 64 hexadecimal digits');

/** A caller's name of what shares sandboxes. */
export const groupName = z
  .string()
  .regex(/^[A-Za-z0-9._:-]{1,128}$/, 'expected 1 to 128 letters, digits, dots, dashes, colons');

export const positiveInt = z.int().positive();
