/** What a job writes is payload: no byte of it is taken for a word of the guest's. */
import { describe, expect, test } from 'vitest';
import { FROM_GUEST, TO_GUEST } from '../../services/worker/protocol/frame.ts';
import { api, attack, expectNothingLeft } from './attack.ts';

/** Written here anew and not with the encoder under test: type, length, payload of 8-byte integers. */
function frame(type: number, ...values: number[]): Buffer {
  const bytes = Buffer.alloc(5 + 8 * values.length);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32BE(8 * values.length, 1);
  for (const [index, value] of values.entries())
    bytes.writeBigUInt64BE(BigInt(value), 5 + 8 * index);
  return bytes;
}

/** The engine's own header of a chunk on a stream. */
const inChunk = (stream: number, bytes: Buffer): Buffer => {
  const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
};

const A_GOOD_END = [
  frame(FROM_GUEST.HELLO, 1),
  frame(FROM_GUEST.STARTED, 0),
  frame(FROM_GUEST.STEP_END, 0, 0, 0, 0, 0, 0, 0, 1000, 1000),
  frame(FROM_GUEST.DONE, 0, 0, 0, 0, 0),
  frame(TO_GUEST.EXIT),
];
const FORGED = Buffer.concat([
  ...A_GOOD_END,
  Buffer.from([FROM_GUEST.STDOUT, 0xff, 0xff, 0xff, 0xff]),
  inChunk(1, Buffer.concat(A_GOOD_END)),
  inChunk(2, Buffer.from('guest: broken frame')),
]);

const bytesOf = (text: string, encoding: string): Buffer =>
  Buffer.from(text, encoding === 'base64' ? 'base64' : 'utf8');

describe('forgery', () => {
  test('O11 bytes like our frames on both streams stay what the job printed', async () => {
    const result = await api.run({
      files: [{ path: 'forged', content: FORGED.toString('base64'), encoding: 'base64' }],
      command: ['sh', '-c', 'cat forged; cat forged >&2; exit 3'],
    });
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 3 }, attempt: 1 });
    expect(bytesOf(result.stdout, result.stdoutEncoding)).toEqual(FORGED);
    expect(bytesOf(result.stderr, result.stderrEncoding)).toEqual(FORGED);
  });

  test('O11 a forged end does not end a job that runs on', async () => {
    const result = await api.run({
      files: [{ path: 'forged', content: FORGED.toString('base64'), encoding: 'base64' }],
      command: ['sh', '-c', 'cat forged; sleep 60'],
      timeoutMs: 1500,
    });
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
    expect(bytesOf(result.stdout, result.stdoutEncoding)).toEqual(FORGED);
  });

  test('O10 no descriptor beyond the three is inherited', async () => {
    const { verdicts } = await attack('inherited-descriptors.c');
    expect(verdicts).toEqual({ written: '0 other 0' });
  });
});

expectNothingLeft();
