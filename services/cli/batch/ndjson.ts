/** Newline-delimited JSON as it comes in pieces: only whole lines are handed on. */

const NEWLINE = 0x0a;

/**
 * Whole lines, as many at once as a piece ends, each with its newline; what comes after the last newline never leaves. At
 * most one line and one piece are held.
 */
export async function* wholeLines(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let begun: Uint8Array[] = [];
  for await (const piece of pieces) {
    const end = piece.lastIndexOf(NEWLINE) + 1;
    if (end > 0) {
      yield Buffer.concat([...begun, piece.subarray(0, end)]);
      begun = [];
    }
    if (end < piece.length) begun.push(piece.subarray(end));
  }
}

/** The lines of a block, without newlines; empty ones keep a connection alive and mean nothing. */
export const linesOf = (block: Buffer): string[] =>
  block
    .toString('utf8')
    .split('\n')
    .filter((line) => line.trim() !== '');
