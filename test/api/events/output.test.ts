import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { advance, startOf, storedPieces } from '../../../services/api/events/output.ts';
import { createCapture } from '../../../services/worker/capture.ts';
import {
  type EventPlace,
  encodeEventId,
  eventId,
  type OutputEvent,
  outputEvent,
} from '../../../shared/contract/event.ts';
import { type JobResult, NO_OUTPUT } from '../../../shared/contract/result.ts';
import type { LivePiece } from '../../../shared/queue/live.ts';

const CAP = 150_000;

/** The output fields of a step that wrote these bytes, as the worker would store them. */
function stored(written: { stdout?: Buffer; stderr?: Buffer }, truncate: 'head' | 'tail' | 'both') {
  const tailBytes = { head: 0, tail: CAP, both: Math.floor(CAP / 2) }[truncate];
  const captured = (bytes: Buffer = Buffer.alloc(0)) => {
    const capture = createCapture(CAP);
    const head = bytes.subarray(0, CAP - tailBytes);
    capture.add('head', head);
    const rest = bytes.subarray(head.length);
    capture.add('tail', rest.subarray(Math.max(0, rest.length - tailBytes)));
    return capture.finish(bytes.length);
  };
  const [out, err] = [captured(written.stdout), captured(written.stderr)];
  return {
    ...NO_OUTPUT,
    stdout: out.text,
    stdoutEncoding: out.encoding,
    stdoutBytes: out.totalBytes,
    stdoutCutAt: out.cutAt,
    stderr: err.text,
    stderrEncoding: err.encoding,
    stderrBytes: err.totalBytes,
    stderrCutAt: err.cutAt,
  };
}

const asResult = (output: object): JobResult => output as JobResult;

const bytesOf = (event: OutputEvent): Buffer =>
  'text' in event ? Buffer.from(event.text) : Buffer.from(event.base64, 'base64');

/** Everything that is sent of a result from a place on, with the connection lost before the event `cutAfter`. */
function sent(result: JobResult, from: EventPlace, cutAfter = Number.POSITIVE_INFINITY) {
  const events: OutputEvent[] = [];
  let place = from;
  for (const piece of storedPieces(result, place.step)) {
    const next = advance(place, piece);
    if (next === undefined) continue;
    if (events.length >= cutAfter) break;
    place = next.place;
    expect(next.event.id).toBe(encodeEventId(place));
    events.push(outputEvent.parse(JSON.parse(next.event.data)));
  }
  return { events, place };
}

const joined = (events: readonly OutputEvent[], stream = 'stdout', step = 0): Buffer =>
  Buffer.concat(events.filter((one) => one.stream === stream && one.step === step).map(bytesOf));

const anyBytes = fc
  .tuple(
    fc.array(fc.constantFrom('a', 'é', '€', '🙂', '\n', '\xff'), { minLength: 1, maxLength: 20 }),
    fc.integer({ min: 0, max: 60_000 }),
    fc.boolean(),
  )
  .map(([units, times, isBinary]) => {
    const unit = Buffer.from(units.join(''), isBinary ? 'latin1' : 'utf8');
    return Buffer.alloc(times === 0 ? 0 : unit.length + times * 5, unit);
  });

describe('a stored result as pieces', () => {
  it('is its bytes, whatever was written and cut, and wherever the connection was lost', () => {
    fc.assert(
      fc.property(
        anyBytes,
        anyBytes,
        fc.constantFrom('head', 'tail', 'both'),
        fc.nat(8),
        (stdout, stderr, truncate, cutAfter) => {
          const result = asResult(stored({ stdout, stderr }, truncate));
          const first = sent(result, startOf(1), cutAfter);
          const second = sent(result, eventId.parse(encodeEventId(first.place)));
          const events = [...first.events, ...second.events];
          const { stdoutEncoding, stderrEncoding } = result;
          const errors = joined(events, 'stderr');
          expect(joined(events).equals(Buffer.from(result.stdout, stdoutEncoding))).toBe(true);
          expect(errors.equals(Buffer.from(result.stderr, stderrEncoding))).toBe(true);
          for (const event of events) {
            const written = event.stream === 'stdout' ? stdout : stderr;
            const bytes = bytesOf(event);
            expect(bytes.length).toBeLessThanOrEqual(65_536);
            const same = written.subarray(event.offset, event.offset + bytes.length);
            expect(bytes.equals(same)).toBe(true);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('is text where a piece is text, and base64 where it is not', () => {
    const binary = Buffer.concat([
      Buffer.alloc(65_536, 'a'),
      Buffer.from([0xff]),
      Buffer.from('é'),
    ]);
    const { events } = sent(asResult(stored({ stdout: binary }, 'both')), startOf(1));
    expect(events).toMatchObject([{ text: 'a'.repeat(65_536) }, { base64: '/8Op' }]);
  });

  it('goes step by step, and from a step on', () => {
    const steps = ['one', 'two', ''].map((text) => stored({ stdout: Buffer.from(text) }, 'both'));
    const result = asResult({ ...steps[2], steps });
    expect(sent(result, startOf(1)).events).toMatchObject([
      { step: 0, text: 'one' },
      { step: 1, text: 'two' },
    ]);
    const later = { attempt: 1, step: 1, stdout: 1, stderr: 0 };
    expect(sent(result, later).events).toEqual([
      { step: 1, stream: 'stdout', offset: 1, text: 'wo' },
    ]);
  });
});

describe('a piece', () => {
  const piece = (offset: number, text: string): LivePiece => ({
    step: 1,
    stream: 'stderr',
    offset,
    bytes: Buffer.from(text),
  });
  const at = (stderr: number, step = 1): EventPlace => ({ attempt: 1, step, stdout: 9, stderr });

  it('of which all was sent before is nothing', () => {
    expect(advance(at(5), piece(2, 'abc'))).toBeUndefined();
    expect(advance(at(0, 2), piece(2, 'abc'))).toBeUndefined();
    expect(advance(at(0), piece(0, ''))).toBeUndefined();
  });

  it('of which some was sent before is the rest', () => {
    const next = advance(at(4), piece(2, 'abc'));
    expect(JSON.parse(next?.event.data ?? '')).toMatchObject({ offset: 4, text: 'c' });
    expect(next?.place).toEqual(at(5));
  });

  it('of a later step begins that step', () => {
    expect(advance(at(77, 0), piece(0, 'abc'))?.place).toEqual({
      attempt: 1,
      step: 1,
      stdout: 0,
      stderr: 3,
    });
  });
});
