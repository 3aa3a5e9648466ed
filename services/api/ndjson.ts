/** Lines of a body as they come: one in memory at a time, each bounded, none broken by the edges of the pieces. */
import { isUtf8 } from 'node:buffer';
import type { Readable } from 'node:stream';
import { AppError } from '../../shared/errors.ts';

export interface Line {
  /** Counted from 1; blank lines count, and are left out. */
  readonly number: number;
  readonly text: string;
}

const NEWLINE = 0x0a;
/** A client that sends nothing for so long is gone. */
const SILENCE_MS = 30_000;

export async function* readLines(body: Readable, maxLineBytes: number): AsyncGenerator<Line> {
  let number = 0;
  let held: Buffer[] = [];
  let heldBytes = 0;

  const take = (piece: Buffer): Line | undefined => {
    const line = held.length === 0 ? piece : Buffer.concat([...held, piece]);
    held = [];
    heldBytes = 0;
    number++;
    if (line.length > maxLineBytes) throw tooLong(number, maxLineBytes);
    if (!isUtf8(line)) {
      const detail = `line ${number}: expected UTF-8, came other bytes`;
      throw new AppError('BODY_NOT_JSON', { line: number, detail });
    }
    const text = line.toString('utf8').trim();
    return text === '' ? undefined : { number, text };
  };

  for await (const chunk of unlessSilent(body)) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const line = take(chunk.subarray(from, end));
      from = end + 1;
      if (line !== undefined) yield line;
    }
    const rest = chunk.subarray(from);
    if (rest.length === 0) continue;
    held.push(rest);
    heldBytes += rest.length;
    if (heldBytes > maxLineBytes) throw tooLong(number + 1, maxLineBytes);
  }
  if (heldBytes === 0) return;
  const last = take(Buffer.alloc(0));
  if (last !== undefined) yield last;
}

const tooLong = (line: number, maxLineBytes: number): AppError =>
  new AppError('LINE_TOO_LONG', {
    line,
    detail: `line ${line}: expected at most ${maxLineBytes} bytes; came more`,
  });

async function* unlessSilent(body: Readable): AsyncGenerator<Buffer> {
  /** Undefined while nobody asks for more: then it is not the client who is silent. */
  let askedAtMs: number | undefined = Date.now();
  const watch = setInterval(() => {
    if (askedAtMs === undefined || Date.now() - askedAtMs <= SILENCE_MS) return;
    body.destroy(new AppError('REQUEST_TIMEOUT'));
  }, SILENCE_MS / 10);
  try {
    for await (const chunk of body.iterator({ destroyOnReturn: false })) {
      askedAtMs = undefined;
      yield chunk;
      askedAtMs = Date.now();
    }
  } catch (error) {
    throw cutOff(error) ?? error;
  } finally {
    clearInterval(watch);
    // What was not asked for is let by: unread, it would stand before the connection's next request.
    body.resume();
  }
}

const CUT_OFF = ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE'];

/** A client that leaves in the middle of its body is no failure of ours. */
function cutOff(error: unknown): AppError | undefined {
  if (!CUT_OFF.includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
  const detail = 'the connection ended before the body did';
  return new AppError('REQUEST_TIMEOUT', { cause: error, detail });
}
