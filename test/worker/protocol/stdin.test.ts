import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Conversation, type GuestSink } from '../../../services/worker/protocol/conversation.ts';
import { CHUNK_BYTES, TO_GUEST } from '../../../services/worker/protocol/frame.ts';
import { decodeAll, intsOf, started, stepEnd, Written, want } from './frames.ts';

const sink = { onStarted: () => {} } as unknown as GuestSink;

/** A conversation whose guest says these frames; what is sent back to it. */
function answersTo(stdin: readonly (Buffer | null)[], ...said: Buffer[]): Written {
  const written = new Written();
  const conversation = new Conversation({ encoded: Buffer.alloc(0), stdin, sink }, (bytes) =>
    written.write(bytes),
  );
  for (const frame of decodeAll(said)) conversation.receive(frame);
  return written;
}

const STEP_BYTES = 8;
const contentOf = (written: Written): Buffer =>
  Buffer.concat(
    written.frames
      .filter(({ type }) => type === TO_GUEST.STDIN)
      .map(({ payload }) => payload.subarray(STEP_BYTES)),
  );

describe('stdin that the guest pulls', () => {
  it('never comes in larger amounts than it was asked for, and in order', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.array(fc.nat(120), { maxLength: 10 }),
        (bytes, wants) => {
          const stdin = Buffer.from(bytes);
          const written = answersTo([stdin], started(0), ...wants.map(want));
          const content = contentOf(written);
          const asked = wants.reduce((sum, one) => sum + one, 0);
          expect(content.length).toBe(Math.min(asked, stdin.length));
          expect(stdin.subarray(0, content.length).equals(content)).toBe(true);
        },
      ),
    );
  });

  it('comes in frames that the guest takes, however much it asks for', () => {
    const stdin = Buffer.alloc(3 * CHUNK_BYTES, 'x');
    const written = answersTo([stdin], started(0), want(10 * CHUNK_BYTES));
    const sizes = written.frames.map(({ payload }) => payload.length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(STEP_BYTES + CHUNK_BYTES);
  });

  it('ends with the last byte, without being asked again', () => {
    const written = answersTo([Buffer.from('abc')], started(0), want(3));
    expect(written.types()).toEqual([TO_GUEST.STDIN, TO_GUEST.STDIN_END]);
  });

  it('ends at once when it is empty', () => {
    expect(answersTo([Buffer.alloc(0)], started(0), want(10)).types()).toEqual([
      TO_GUEST.STDIN_END,
    ]);
  });

  it('ends once: the guest, which may have asked twice by then, takes nothing after the end', () => {
    const written = answersTo(
      [Buffer.alloc(70_000)],
      started(0),
      want(65_536),
      want(32_768),
      want(32_768),
    );
    expect(written.types().filter((type) => type === TO_GUEST.STDIN_END)).toHaveLength(1);
    expect(written.types().at(-1)).toBe(TO_GUEST.STDIN_END);
  });

  it('names its step, and begins anew with the next', () => {
    const stdin = [Buffer.from('one'), Buffer.from('two')];
    const written = answersTo(stdin, started(0), want(2), stepEnd(), started(1), want(9));
    expect(written.frames.map(({ payload }) => intsOf(payload.subarray(0, STEP_BYTES))[0])).toEqual(
      [0, 1, 1],
    );
    expect(contentOf(written).toString()).toBe('ontwo');
  });
});
