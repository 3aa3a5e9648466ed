/**
 * The jobs that are uploaded: a file or standard input as it is, piece by piece, with the options of the command line in
 * its first line, `{"batch": {…}}`, joined with those that it has there itself.
 */
import { createHash } from 'node:crypto';
import { createReadStream, type Stats, statSync } from 'node:fs';
import { ServerError } from '../client.ts';

export interface BatchInput {
  /** For messages. */
  readonly name: string;
  /** Its size; undefined where it is not known before its end. */
  readonly bytes: number | undefined;
  /** Whether it can be read again from its beginning. */
  readonly isRepeatable: boolean;
  /** What is uploaded. */
  read(): AsyncGenerator<Uint8Array>;
  /** The line of the input that a line of the upload is, once that was read. */
  ownLine(uploadLine: number): number;
  /** Lets go of what nobody will read. */
  close(): void;
}

export type BatchHeader = Readonly<Record<string, unknown>>;

/** The input could not be read; another try will not help. */
export class InputError extends ServerError {}

const NEWLINE = 0x0a;
/** A first line that is longer than this is taken for a job. */
const LONGEST_HEADER_BYTES = 1024 * 1024;

export function openInput(file: string, header: BatchHeader): BatchInput {
  let added = 0;
  const withOwnLines = (source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> =>
    withHeader(source, header, (lines) => {
      added = lines;
    });
  const ownLine = (uploadLine: number): number => Math.max(1, uploadLine - added);
  if (file === '-') {
    const read = () => withOwnLines(named('standard input', process.stdin));
    // A read that waits for somebody to type would keep the process up.
    const close = () => void process.stdin.destroy();
    return { name: 'standard input', bytes: undefined, isRepeatable: false, read, ownLine, close };
  }
  const stat = statOf(file);
  const read = () => withOwnLines(named(file, createReadStream(file)));
  // What is no regular file (a pipe, say) can be read once.
  const isRepeatable = stat.isFile();
  const bytes = isRepeatable ? stat.size : undefined;
  return { name: file, bytes, isRepeatable, read, ownLine, close: () => {} };
}

/** SHA-256 of the whole upload. */
export async function digestOf(input: BatchInput): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of input.read()) hash.update(piece);
  return hash.digest('hex');
}

function statOf(file: string): Stats {
  try {
    const stat = statSync(file);
    if (!stat.isDirectory()) return stat;
  } catch (cause) {
    throw new InputError(`${file}: ${(cause as Error).message}`, { cause });
  }
  throw new InputError(`${file}: expected a file with one job a line; came a folder`);
}

async function* named(name: string, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } catch (cause) {
    throw new InputError(`${name}: ${(cause as Error).message}`, { cause });
  }
}

async function* withHeader(
  source: AsyncIterable<Uint8Array>,
  header: BatchHeader,
  onAdded: (lines: number) => void,
): AsyncGenerator<Uint8Array> {
  let isAhead = Object.keys(header).length > 0;
  let head = Buffer.alloc(0);
  const first = (): Buffer[] => {
    isAhead = false;
    const end = head.indexOf(NEWLINE);
    const line = end < 0 ? head : head.subarray(0, end);
    const own = headerOf(line.toString('utf8'));
    onAdded(own === undefined ? 1 : 0);
    const batch = { ...own, ...header, defaults: { ...defaultsOf(own), ...defaultsOf(header) } };
    const rest = own === undefined ? head : head.subarray(end < 0 ? head.length : end + 1);
    return [Buffer.from(`${JSON.stringify({ batch })}\n`), rest];
  };
  for await (const piece of source) {
    if (!isAhead) {
      yield piece;
      continue;
    }
    head = Buffer.concat([head, piece]);
    if (head.includes(NEWLINE) || head.length > LONGEST_HEADER_BYTES) yield* first();
  }
  if (isAhead) yield* first();
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const defaultsOf = (header: BatchHeader | undefined): Record<string, unknown> =>
  isObject(header?.defaults) ? header.defaults : {};

/** The options in the input's own first line; undefined where that is a job, or anything else. */
function headerOf(line: string): Record<string, unknown> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!isObject(value) || Object.keys(value).join() !== 'batch') return undefined;
  return isObject(value.batch) ? value.batch : undefined;
}
