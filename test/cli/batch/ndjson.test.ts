import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { linesOf, wholeLines } from '../../../services/cli/batch/ndjson.ts';

async function* pieces(all: Buffer, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const size of sizes) {
    yield all.subarray(at, at + size);
    at += size;
  }
  yield all.subarray(at);
}

describe('whole lines', () => {
  it('come the same however the bytes are cut, also within a character, and no torn one comes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'grapheme' }).map((text) => JSON.stringify(text))),
        fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', '')),
        fc.array(fc.nat(7)),
        async (lines, torn, sizes) => {
          const all = Buffer.from(lines.map((line) => `${line}\n`).join('') + torn);
          const blocks: Buffer[] = [];
          for await (const block of wholeLines(pieces(all, sizes))) blocks.push(block);
          expect(blocks.flatMap(linesOf)).toEqual(lines);
          const bytes = blocks.reduce((sum, { length }) => sum + length, 0);
          expect(bytes).toBe(all.lastIndexOf('\n') + 1);
        },
      ),
    );
  });

  it('leave out empty lines, which only keep a connection alive', () => {
    expect(linesOf(Buffer.from('\n{}\n\r\n\n1\n'))).toEqual(['{}', '1']);
  });
});
