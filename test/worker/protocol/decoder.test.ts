import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createDecoder,
  decodeInt,
  decodeInts,
  ProtocolError,
} from '../../../services/worker/protocol/decoder.ts';
import {
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  MAX_PAYLOAD_BYTES,
  TO_GUEST,
} from '../../../services/worker/protocol/frame.ts';
import { decodeAll } from './frames.ts';

const TYPES = Object.values(FROM_GUEST);

/** Bytes cut at these places. */
function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [...new Set(at.map((one) => one % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...places, bytes.length].map((end, index) =>
    bytes.subarray(index === 0 ? 0 : places[index - 1], end),
  );
}

const header = (type: number, length: number): Buffer => {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32BE(length, 1);
  return bytes;
};

describe('the decoder', () => {
  it('makes the same frames of the same bytes, wherever they are cut', () => {
    const frames = fc.array(
      fc.record({
        type: fc.constantFrom(...TYPES),
        payload: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      }),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 20 }), (sent, places) => {
        const bytes = Buffer.concat(sent.map(({ type, payload }) => encodeFrame(type, payload)));
        expect(decodeAll(cut(bytes, places))).toEqual(sent);
      }),
      { numRuns: 500 },
    );
  });

  it('takes a stream byte by byte', () => {
    const bytes = Buffer.concat([
      encodeFrame(FROM_GUEST.STDOUT, Buffer.from('hello')),
      encodeFrame(FROM_GUEST.STARTED, encodeInts(0)),
    ]);
    const frames = decodeAll([...bytes].map((byte) => Buffer.from([byte])));
    expect(frames.map(({ type }) => type)).toEqual([FROM_GUEST.STDOUT, FROM_GUEST.STARTED]);
    expect(frames[0]?.payload.toString()).toBe('hello');
  });

  it('takes the largest payload, in pieces of one byte, without slowing down', () => {
    const payload = Buffer.alloc(MAX_PAYLOAD_BYTES, 'x');
    const bytes = encodeFrame(FROM_GUEST.STDOUT, payload);
    const startedAt = performance.now();
    const pieces = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
    const frames = decodeAll(pieces);
    expect(frames[0]?.payload.equals(payload)).toBe(true);
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });

  it('O18 refuses a length above the largest at its header, before anything of it came', () => {
    for (const length of [MAX_PAYLOAD_BYTES + 1, 2 ** 31, 2 ** 32 - 1]) {
      const before = process.memoryUsage().arrayBuffers;
      expect(() => decodeAll([header(FROM_GUEST.STDOUT, length)])).toThrow(ProtocolError);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
    }
  });

  it('O18 refuses every type that a guest does not send, its own to the guest included', () => {
    for (let type = 0; type < 256; type++) {
      const isKnown = (TYPES as number[]).includes(type);
      const decode = () => decodeAll([header(type, 0)]);
      if (isKnown) expect(decode()).toHaveLength(1);
      else expect(decode, String(type)).toThrow(ProtocolError);
    }
    expect(Object.values(TO_GUEST).some((type) => (TYPES as number[]).includes(type))).toBe(false);
  });

  it('hands on the good frames before a bad one', () => {
    const seen: number[] = [];
    const decode = createDecoder(({ type }) => seen.push(type));
    const bytes = Buffer.concat([encodeFrame(FROM_GUEST.HELLO, encodeInts(1)), header(0, 0)]);
    expect(() => decode(bytes)).toThrow('unknown frame type 0');
    expect(seen).toEqual([FROM_GUEST.HELLO]);
  });

  it('never makes a frame of random bytes that it would not have encoded so', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (random) => {
        const bytes = Buffer.from(random);
        const frames: Buffer[] = [];
        try {
          createDecoder(({ type, payload }) => frames.push(encodeFrame(type, payload)))(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
        const again = Buffer.concat(frames);
        expect(bytes.subarray(0, again.length).equals(again)).toBe(true);
      }),
    );
  });
});

describe('an integer', () => {
  it('goes there and back as it was, up to the largest that a number holds exactly', () => {
    fc.assert(
      fc.property(fc.array(fc.maxSafeNat(), { maxLength: 5 }), (values) => {
        expect(decodeInts(encodeInts(...values), values.length)).toEqual(values);
      }),
    );
  });

  it('above that is refused', () => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt(Number.MAX_SAFE_INTEGER) + 1n);
    expect(() => decodeInt(bytes, 0)).toThrow('out of range');
    expect(() => decodeInts(Buffer.alloc(8, 255), 1)).toThrow(ProtocolError);
  });

  it('that came with too few or too many bytes is refused', () => {
    for (const length of [0, 7, 9, 15, 17]) {
      expect(() => decodeInts(Buffer.alloc(length), 1)).toThrow(ProtocolError);
    }
    expect(() => decodeInt(Buffer.alloc(8), 1)).toThrow(ProtocolError);
  });
});

describe('a frame that is sent', () => {
  it('is never larger than its receiver takes', () => {
    expect(encodeFrame(1, Buffer.alloc(MAX_PAYLOAD_BYTES))).toHaveLength(MAX_PAYLOAD_BYTES + 5);
    expect(() => encodeFrame(1, Buffer.alloc(MAX_PAYLOAD_BYTES), Buffer.alloc(1))).toThrow(
      RangeError,
    );
  });
});
