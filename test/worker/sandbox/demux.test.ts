import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createDemux } from '../../../services/worker/sandbox/demux.ts';

const piece = (stream: number, bytes: Buffer): Buffer => {
  const header = Buffer.alloc(8);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
};

function demuxed(chunks: readonly Buffer[]): { stdout: Buffer; stderr: Buffer; calls: number } {
  const heard = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const demux = createDemux({
    onStdout: (bytes) => heard.stdout.push(bytes),
    onStderr: (bytes) => heard.stderr.push(bytes),
  });
  for (const chunk of chunks) demux(chunk);
  return {
    stdout: Buffer.concat(heard.stdout),
    stderr: Buffer.concat(heard.stderr),
    calls: heard.stdout.length + heard.stderr.length,
  };
}

describe('the connection to a container', () => {
  it('O19 is taken apart the same wherever it is cut', () => {
    const bytes = Buffer.concat([
      piece(1, Buffer.from('out')),
      piece(2, Buffer.from('err')),
      piece(1, Buffer.alloc(0)),
      piece(1, Buffer.from(' more')),
    ]);
    for (let at = 0; at <= bytes.length; at++) {
      const { stdout, stderr } = demuxed([bytes.subarray(0, at), bytes.subarray(at)]);
      expect([stdout.toString(), stderr.toString()]).toEqual(['out more', 'err']);
    }
    const single = demuxed([...bytes].map((byte) => Buffer.from([byte])));
    expect(single.stdout.toString()).toBe('out more');
  });

  it('is taken apart the same in any pieces and chunks', () => {
    const pieces = fc.array(
      fc.record({ stream: fc.constantFrom(1, 2), bytes: fc.uint8Array({ maxLength: 20 }) }),
    );
    fc.assert(
      fc.property(pieces, fc.integer({ min: 1, max: 30 }), (sent, size) => {
        const all = Buffer.concat(
          sent.map(({ stream, bytes }) => piece(stream, Buffer.from(bytes))),
        );
        const chunks = Array.from({ length: Math.ceil(all.length / size) }, (_, index) =>
          all.subarray(index * size, (index + 1) * size),
        );
        const of = (stream: number) =>
          Buffer.concat(sent.filter((one) => one.stream === stream).map(({ bytes }) => bytes));
        const { stdout, stderr } = demuxed(chunks);
        expect(stdout.equals(of(1))).toBe(true);
        expect(stderr.equals(of(2))).toBe(true);
      }),
    );
  });

  it('hands a large piece on as it comes, without waiting for its end', () => {
    const half = piece(1, Buffer.alloc(1_000_000)).subarray(0, 500_000);
    const { stdout, calls } = demuxed([half]);
    expect(stdout.length).toBe(500_000 - 8);
    expect(calls).toBe(1);
  });

  it('takes 65,536 pieces of one byte in one chunk without recursion, and soon', () => {
    const chunk = Buffer.concat(Array.from({ length: 65_536 }, () => piece(1, Buffer.from('x'))));
    const startedAt = performance.now();
    expect(demuxed([chunk]).stdout).toHaveLength(65_536);
    expect(performance.now() - startedAt).toBeLessThan(1000);
  });

  it('that no engine would speak is refused', () => {
    for (const stream of [0, 3, 255]) {
      expect(() => demuxed([piece(stream, Buffer.from('x'))])).toThrow(`stream ${stream}`);
    }
    expect(() => demuxed([Buffer.from('HTTP/1.1 500')])).toThrow('expected 1 or 2');
  });
});
