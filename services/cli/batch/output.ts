/**
 * Where the results of a batch go: standard output, or a file that is continued. A file is read once on opening: its lines
 * are counted, what was torn off after the last newline is cut away, and the last line says where to go on.
 */
import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  ftruncateSync,
  openSync,
  write,
} from 'node:fs';
import { promisify } from 'node:util';
import { ServerError } from '../client.ts';
import { linesOf, wholeLines } from './ndjson.ts';
import { parseResultLine } from './result-line.ts';
import { emptyTally, type Tally } from './tally.ts';

export interface Output {
  /** Results so far; whoever writes counts. */
  readonly tally: Tally;
  /** Where to go on; undefined at the beginning. */
  cursor: string | undefined;
  /** Resolves when the text has left: whoever writes waits for it, so that nothing piles up. */
  write(text: string): Promise<void>;
  close(): void;
}

const writeAt = promisify(write);

export function openStdout(): Output {
  const { stdout } = process;
  // A reader that goes away is told to whoever writes next, and to nobody else.
  stdout.on('error', () => {});
  return {
    tally: emptyTally(),
    cursor: undefined,
    write: (text) =>
      new Promise((resolve, reject) => {
        stdout.write(text, (error) => (error ? reject(new StdoutClosed(error)) : resolve()));
      }),
    close: () => {},
  };
}

/** Whoever read our standard output does so no longer. */
export class StdoutClosed extends ServerError {
  constructor(cause: Error) {
    super(`Standard output: ${cause.message}`, { cause });
  }
}

/** Throws when the file holds anything but results. */
export async function openResultFile(file: string): Promise<Output> {
  const descriptor = opened(file);
  try {
    const { tally, cursor, bytes } = await scan(file, descriptor);
    if (fstatSync(descriptor).size > bytes) ftruncateSync(descriptor, bytes);
    let at = bytes;
    const append = async (text: string): Promise<void> => {
      const all = Buffer.from(text);
      for (let done = 0; done < all.length; ) {
        const { bytesWritten } = await writeAt(descriptor, all, done, all.length - done, at);
        done += bytesWritten;
        at += bytesWritten;
      }
    };
    return {
      tally,
      cursor,
      write: (text) =>
        append(text).catch((cause: Error) => {
          throw new ServerError(`${file}: ${cause.message}`, { cause });
        }),
      close: () => closeSync(descriptor),
    };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function opened(file: string): number {
  try {
    // None of Node's own flags: what is there stays, what is not is made, and each write goes where it is told to.
    return openSync(file, constants.O_RDWR | constants.O_CREAT, 0o644);
  } catch (cause) {
    throw new ServerError(`--output: ${(cause as Error).message}`, { cause });
  }
}

async function scan(
  file: string,
  fd: number,
): Promise<{ tally: Tally; cursor: string | undefined; bytes: number }> {
  const tally = emptyTally();
  let cursor: string | undefined;
  let bytes = 0;
  let line = 0;
  for await (const block of wholeLines(
    createReadStream(file, { fd, start: 0, autoClose: false }),
  )) {
    for (const text of linesOf(block)) {
      line += 1;
      const result = parseResultLine(text, `${file}:${line}`);
      tally[result.countedAs] += 1;
      cursor = result.cursor;
    }
    bytes += block.length;
  }
  return { tally, cursor, bytes };
}
