import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCapture } from '../../services/worker/capture.ts';
import { ProtocolError } from '../../services/worker/protocol/decoder.ts';

const bytesOf = ({ text, encoding }: { text: string; encoding: 'utf8' | 'base64' }): Buffer =>
  Buffer.from(text, encoding);

/** What is kept of a stream of which these bytes came, in pieces. */
function captured(head: Buffer, tail: Buffer, total: number | null, pieces = 1) {
  const capture = createCapture(1024 * 1024);
  for (const [part, bytes] of [
    ['head', head],
    ['tail', tail],
  ] as const) {
    const size = Math.max(1, Math.ceil(bytes.length / pieces));
    for (let at = 0; at < bytes.length; at += size) {
      capture.add(part, bytes.subarray(at, at + size));
    }
  }
  return capture.finish(total);
}

const NONE = Buffer.alloc(0);
const anyBytes = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes));
const anyText = fc
  .string({ unit: fc.constantFrom('a', '\n', 'é', '€', '日', '🙂', '\0'), maxLength: 30 })
  .map((text) => Buffer.from(text));

describe('a stream of which nothing is missing', () => {
  it('is held in little more than its bytes, however small the pieces were', () => {
    const bytes = Buffer.alloc(1024 * 1024, 'x');
    const capture = createCapture(bytes.length);
    const before = process.memoryUsage().rss;
    for (let at = 0; at < bytes.length; at++) capture.add('head', bytes.subarray(at, at + 1));
    expect(process.memoryUsage().rss - before).toBeLessThan(60 * bytes.length);
    expect(capture.finish(bytes.length).text.length).toBe(bytes.length);
  });

  it('is kept to the byte, whatever its bytes and its pieces are', () => {
    fc.assert(
      fc.property(fc.oneof(anyBytes, anyText), fc.integer({ min: 1, max: 9 }), (bytes, pieces) => {
        const stream = captured(bytes, NONE, bytes.length, pieces);
        expect(bytesOf(stream).equals(bytes)).toBe(true);
        expect(stream).toMatchObject({ totalBytes: bytes.length, cutAt: null });
        expect(stream.encoding).toBe(isUtf8(bytes) ? 'utf8' : 'base64');
      }),
    );
  });

  it('is whole when head and tail meet, even in the middle of a character', () => {
    fc.assert(
      fc.property(anyText, fc.nat(), (bytes, at) => {
        const place = at % (bytes.length + 1);
        const stream = captured(bytes.subarray(0, place), bytes.subarray(place), bytes.length);
        expect(stream).toMatchObject({ text: bytes.toString(), encoding: 'utf8', cutAt: null });
      }),
    );
  });

  it('is what came, when the guest did not live to count', () => {
    expect(captured(Buffer.from('so far'), NONE, null)).toEqual({
      text: 'so far',
      encoding: 'utf8',
      totalBytes: 6,
      cutAt: null,
    });
    expect(captured(NONE, NONE, null)).toEqual({
      text: '',
      encoding: 'utf8',
      totalBytes: 0,
      cutAt: null,
    });
  });

  it('stays text when the guest was lost within a character', () => {
    const stream = captured(Buffer.from('so far €').subarray(0, -1), NONE, null);
    expect(stream).toMatchObject({ text: 'so far ', encoding: 'utf8' });
  });
});

describe('a stream of which bytes are missing', () => {
  it('of text stays text: no character is split, and no more than the split ones is dropped', () => {
    fc.assert(
      fc.property(anyText, fc.nat(), fc.nat(), (bytes, a, b) => {
        const [from, to] = [a % (bytes.length + 1), b % (bytes.length + 1)].sort((x, y) => x - y);
        if (from === to) return;
        const [head, tail] = [bytes.subarray(0, from), bytes.subarray(to)];
        const stream = captured(head, tail, bytes.length);
        expect(stream.encoding).toBe('utf8');
        expect(stream.totalBytes).toBe(bytes.length);
        const kept = bytesOf(stream);
        const cutAt = stream.cutAt ?? Number.NaN;
        const [before, after] = [kept.subarray(0, cutAt), kept.subarray(cutAt)];
        expect(isUtf8(before) && isUtf8(after)).toBe(true);
        expect(head.subarray(0, before.length).equals(before)).toBe(true);
        expect(tail.subarray(tail.length - after.length).equals(after)).toBe(true);
        expect(head.length - before.length).toBeLessThan(4);
        expect(tail.length - after.length).toBeLessThan(4);
      }),
      { numRuns: 1000 },
    );
  });

  it('is never text that was not written, whatever its bytes are', () => {
    fc.assert(
      fc.property(anyBytes, anyBytes, fc.integer({ min: 1, max: 100 }), (head, tail, missing) => {
        const stream = captured(head, tail, head.length + tail.length + missing);
        const kept = bytesOf(stream);
        const cutAt = stream.cutAt ?? Number.NaN;
        expect(cutAt).toBeGreaterThanOrEqual(0);
        expect(cutAt).toBeLessThanOrEqual(kept.length);
        if (stream.encoding === 'base64') {
          expect(kept.equals(Buffer.concat([head, tail]))).toBe(true);
          expect(cutAt).toBe(head.length);
        } else {
          expect(head.subarray(0, cutAt).equals(kept.subarray(0, cutAt))).toBe(true);
          const after = kept.subarray(cutAt);
          expect(tail.subarray(tail.length - after.length).equals(after)).toBe(true);
          expect(stream.text.includes('\ufffd')).toBe(kept.includes(Buffer.from('\ufffd')));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('is cut after its head, before its tail, or in between', () => {
    const text = (part: string) => Buffer.from(part);
    expect(captured(text('head'), NONE, 100)).toMatchObject({ text: 'head', cutAt: 4 });
    expect(captured(NONE, text('tail'), 100)).toMatchObject({ text: 'tail', cutAt: 0 });
    expect(captured(text('head'), text('tail'), 100)).toMatchObject({ text: 'headtail', cutAt: 4 });
    expect(captured(NONE, NONE, 100)).toMatchObject({ text: '', cutAt: 0, totalBytes: 100 });
  });

  it('never totals less than what came', () => {
    expect(captured(Buffer.from('four'), NONE, 1)).toMatchObject({ totalBytes: 4, cutAt: null });
  });
});

describe('a capture', () => {
  it('takes as much as its cap and refuses the byte after it, in whatever part', () => {
    for (const parts of [['head'], ['tail'], ['head', 'tail']] as const) {
      const capture = createCapture(10);
      for (const part of parts) capture.add(part, Buffer.alloc(10 / parts.length));
      capture.add('head', NONE);
      expect(() => capture.add('tail', Buffer.alloc(1))).toThrow(ProtocolError);
    }
  });

  it('keeps what came before a piece that it refused', () => {
    const capture = createCapture(3);
    capture.add('head', Buffer.from('abc'));
    expect(() => capture.add('head', Buffer.from('d'))).toThrow(ProtocolError);
    expect(capture.finish(null).text).toBe('abc');
  });
});
