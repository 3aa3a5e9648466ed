import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { brokenEnd, brokenStart } from '../../shared/utf8.ts';

const anyText = fc
  .string({ unit: fc.constantFrom('a', '\n', 'é', '€', '日', '🙂', '\0'), maxLength: 30 })
  .map((text) => Buffer.from(text));

describe('text that is cut anywhere', () => {
  it('is text again on both sides once the broken character is left out', () => {
    fc.assert(
      fc.property(anyText, fc.nat(120), (text, at) => {
        const head = text.subarray(0, at);
        const tail = text.subarray(at);
        const end = brokenEnd(head);
        const start = brokenStart(tail);
        expect(isUtf8(head.subarray(0, head.length - end))).toBe(true);
        expect(isUtf8(tail.subarray(start))).toBe(true);
        // No more is left out than the one character that the cut went through.
        expect(end + start).toBeLessThanOrEqual(4);
        expect(end === 0).toBe(start === 0);
      }),
    );
  });

  it('loses nothing at its end that no further byte could complete', () => {
    for (const bytes of [[], [0x41], [0x80], [0xff, 0x80, 0x80, 0x80], [0xc3, 0xa9]]) {
      expect(brokenEnd(Buffer.from(bytes))).toBe(0);
    }
    expect(brokenEnd(Buffer.from([0x41, 0xf0, 0x9f, 0x99]))).toBe(3);
  });
});
