import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Part } from '../../../services/api/mcp/output-bytes.ts';
import { matchesIn, sliceAt, tailOf } from '../../../services/api/mcp/slice.ts';

const part = (text: string, offset = 0): Part => ({ offset, bytes: Buffer.from(text) });
const GAPPED = [part('head\n'), part('tail\nend\n', 100)];

describe('a slice', () => {
  it('read on from nextOffset gives all of a text, whatever its pieces are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }), { minLength: 1 }),
        fc.integer({ min: 4, max: 9 }),
        (texts, maxBytes) => {
          let offset = 0;
          const parts = texts.map((text) => {
            const one = part(text, offset);
            offset += one.bytes.length;
            return one;
          });
          let read = '';
          for (let at = 0; at < offset; ) {
            const slice = sliceAt(parts, at, maxBytes);
            if (slice.encoding !== 'utf8' || slice.nextOffset <= at) return false;
            read += slice.content;
            at = slice.nextOffset;
          }
          return read === texts.join('');
        },
      ),
    );
  });

  it('does not reach over a gap, and one that begins in it starts behind it', () => {
    expect(sliceAt(GAPPED, 0, 50)).toMatchObject({ content: 'head\n', nextOffset: 5 });
    expect(sliceAt(GAPPED, 7, 50)).toMatchObject({ content: 'tail\nend\n', offsetBytes: 100 });
  });

  it('behind the end is empty, and goes on where it was asked for', () => {
    expect(sliceAt(GAPPED, 400, 50)).toMatchObject({ content: '', nextOffset: 400 });
    expect(sliceAt([], 0, 50)).toMatchObject({ content: '', encoding: 'utf8', nextOffset: 0 });
  });

  it('of bytes that are no text is base64', () => {
    const bytes = Buffer.from([0xff, 0, 1]);
    const slice = sliceAt([{ offset: 0, bytes }], 0, 50);
    expect(slice).toMatchObject({ encoding: 'base64', content: bytes.toString('base64') });
  });
});

describe('the last lines', () => {
  it.each([
    ['a\nb\nc\n', 2, 'b\nc\n'],
    ['a\nb\nc', 2, 'b\nc'],
    ['a\nb\n', 9, 'a\nb\n'],
    ['\n\n', 1, '\n'],
    ['', 3, ''],
    ['one', 1, 'one'],
  ])('of %j: %i of them are %j', (text, lines, expected) => {
    expect(tailOf([part(text)], lines, 1000).content).toBe(expected);
  });

  it('are bounded in bytes, split no character and come from behind the last gap', () => {
    expect(tailOf([part('ü'.repeat(10))], 1, 5)).toMatchObject({ content: 'üü', offsetBytes: 16 });
    expect(tailOf(GAPPED, 5, 1000)).toMatchObject({ content: 'tail\nend\n', offsetBytes: 100 });
  });
});

describe('a search', () => {
  const search = (text: string, pattern: string, maxBytes = 1000) =>
    matchesIn([part(text)], { pattern, offset: 0, maxBytes });

  it('gives the lines that match, and where to go on', () => {
    expect(search('ab\ncd\nad\n', '^a')).toMatchObject({
      content: 'ab\nad\n',
      matches: 2,
      nextOffset: 9,
    });
  });

  it('stops when enough was found, before the line that is too much', () => {
    expect(search('aa\nab\nac\n', 'a', 5)).toMatchObject({ content: 'aa\n', nextOffset: 3 });
  });

  it('looks through a bounded stretch at a time and ends it at the end of a line', () => {
    const text = `${'x'.repeat(99)}\n`.repeat(12_000);
    const first = search(text, 'y');
    expect(first.matches).toBe(0);
    expect(first.nextOffset).toBeLessThanOrEqual(1024 * 1024);
    expect(first.nextOffset % 100).toBe(0);
  });

  it('ends for a pattern that would hold another engine up for ever', () => {
    expect(search('a'.repeat(4000), '(a+)+b|(a|a)*c').matches).toBe(0);
  });

  it('reads less at once with a larger pattern, so that no call takes long', () => {
    const text = `${'abc'.repeat(33)}\n`.repeat(10_000);
    const { nextOffset } = search(text, 'a[abc]{900}[x-z]');
    expect(nextOffset).toBeGreaterThan(0);
    expect(nextOffset).toBeLessThan(50_000);
    expect(search(text, 'x').nextOffset).toBe(text.length);
  });

  it('refuses a pattern whose repetitions unfold to more than a call can read with', () => {
    const huge = Array.from({ length: 20 }, (_, at) => `a[abc]{${900 + at}}x`).join('|');
    expect(() => search('a', huge)).toThrow(/grep: .*unfold to too much/);
  });

  it.each(['(', '(?=a)', 'x'.repeat(513)])(
    'refuses a pattern that RE2 does not know',
    (pattern) => {
      expect(() => search('a', pattern)).toThrow(/grep: expected a regular expression of RE2/);
    },
  );
});
