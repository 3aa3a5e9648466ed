/** Whatever a guest says, however it arrives: a report is believed only where all of it was said in order. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../services/worker/protocol/decoder.ts';
import { encodeFrame, encodeInts, FROM_GUEST } from '../../../services/worker/protocol/frame.ts';
import {
  artifact,
  artifactData,
  artifactSkipped,
  done,
  frame,
  hello,
  output,
  refused,
  started,
  stepEnd,
  want,
} from './frames.ts';
import { running } from './sessions.ts';

const STEPS = 3;
const STDIN = Buffer.from('what the steps may read');

/** A length that is claimed and does not come; for a type that is known. */
const claim = (length: number): Buffer => {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt8(FROM_GUEST.STDOUT, 0);
  bytes.writeUInt32BE(length, 1);
  return bytes;
};

/** What a guest can say, a letter each; `step` is the next one, or the one that runs. */
const WORDS: Readonly<Record<string, (step: number) => Buffer>> = {
  s: (step) => started(step),
  o: () => output('out'),
  t: () => output('tail', FROM_GUEST.STDERR_TAIL),
  w: () => want(5),
  e: (step) => stepEnd({ step }),
  f: (step) => stepEnd({ step, code: 1 }),
  r: () => refused(2, 28),
  a: () => artifact('a/b'),
  d: () => artifactData('data'),
  k: () => artifactSkipped('c', 1),
  x: () => done(),
};

/** None of these may ever be taken. */
const LIES: readonly ((step: number) => Buffer)[] = [
  () => hello(),
  (step) => started(step + 2),
  (step) => stepEnd({ step: step + 1 }),
  (step) => stepEnd({ step, cause: 6 }),
  (step) => stepEnd({ step, kind: 3 }),
  (step) => stepEnd({ step, stage: 5 }),
  () => refused(9, 1),
  () => artifactSkipped('c', 4),
  () => claim(131_073),
  () => claim(2 ** 31), // negative, to whoever reads it with a sign
  () => claim(2 ** 32 - 1),
  () => encodeFrame(FROM_GUEST.STARTED, Buffer.alloc(8, 255)),
  () => encodeFrame(FROM_GUEST.STEP_END, encodeInts(0, 0, 0)),
  () => encodeFrame(FROM_GUEST.DONE, Buffer.alloc(41)),
  () => frame(FROM_GUEST.WANT, 1, 1),
  () => encodeFrame(FROM_GUEST.ARTIFACT, Buffer.from([0xc3, 0x28])),
  () => Buffer.from([0, 0, 0, 0, 0]),
  () => Buffer.from([255, 0, 0, 0, 0]),
];

/** README.md's order, for a job of three steps: the shortest beginning of a text that is a whole job. */
const step = '(?:s[otw]*e)';
const A_JOB = new RegExp(`^(?:r|${step}{${STEPS}}|${step}{0,${STEPS - 1}}s[otw]*f)(?:ad*|k)*x`);

/** The bytes of words; each knows which step it speaks of. */
function sayAll(letters: readonly string[]): Buffer {
  let steps = -1;
  const frames = letters.map((letter) => {
    if (letter === 's') steps++;
    return (WORDS[letter] as (step: number) => Buffer)(Math.max(steps, 0));
  });
  return Buffer.concat(frames);
}

interface Heard {
  readonly verdict: 'report' | 'broken' | 'waits';
  readonly heard: unknown[][];
  readonly steps: number;
}

async function hear(chunks: readonly Buffer[]): Promise<Heard> {
  const { session, report, heard } = running(Array(STEPS).fill(STDIN));
  for (const chunk of chunks) session.receive(chunk);
  const waits = new Promise<'waits'>((resolve) => setImmediate(resolve, 'waits'));
  const ended = await Promise.race([report.catch((error: Error) => error), waits]);
  if (ended === 'waits') return { verdict: 'waits', heard, steps: 0 };
  if (!(ended instanceof Error)) return { verdict: 'report', heard, steps: ended.steps.length };
  expect(ended).toBeInstanceOf(ProtocolError);
  return { verdict: 'broken', heard, steps: 0 };
}

const halves = (bytes: Buffer, at: number): Buffer[] => [bytes.subarray(0, at), bytes.subarray(at)];

/** Mostly what a guest would say, with words left out, doubled or put elsewhere. */
const letters = fc.oneof(
  fc.array(fc.constantFrom(...Object.keys(WORDS)), { maxLength: 14 }),
  fc
    .tuple(
      fc.constantFrom('sesesekadx', 'soweswfax', 'sotesosfx', 'rkx', 'rx', 'seseswtefadddkadx'),
      fc.nat(20),
      fc.constantFrom('', ...Object.keys(WORDS)),
      fc.nat(2),
    )
    .map(([text, at, word, gone]) => [...(text.slice(0, at) + word + text.slice(at + gone))]),
);

describe('a conversation', () => {
  it('has a report exactly where the guest kept to the order of the protocol', async () => {
    let reports = 0;
    await fc.assert(
      fc.asyncProperty(letters, async (said) => {
        const { verdict, steps } = await hear([sayAll(said)]);
        const [job] = said.join('').match(A_JOB) ?? [];
        expect(verdict === 'report').toBe(job !== undefined);
        if (job === undefined) return;
        reports++;
        expect(steps).toBe(job.replace(/[^s]/g, '').length);
      }),
      { numRuns: 3_000 },
    );
    expect(reports).toBeGreaterThan(100);
  });

  it('is the same wherever its bytes are split, at every byte', async () => {
    const jobs = ['sotwesesefx', 'sesosekadddkadx', 'rkx', 'sewx', 'sodx', 'sesesexx'];
    for (const job of jobs) {
      const bytes = sayAll([...job]);
      const whole = await hear([bytes]);
      const single = await hear([...bytes].map((byte) => Buffer.from([byte])));
      expect(single).toEqual(whole);
      for (let at = 0; at <= bytes.length; at++) {
        expect(await hear(halves(bytes, at)), `${job} split at ${at}`).toEqual(whole);
      }
    }
  });

  it('that is cut short at any byte has no report', async () => {
    const bytes = sayAll([...'sotesesekadx']);
    for (let at = 0; at < bytes.length; at++) {
      expect((await hear([bytes.subarray(0, at)])).verdict).toBe('waits');
    }
    expect((await hear([bytes])).verdict).toBe('report');
  });

  it('is broken by a lie wherever it comes, and nothing behind the lie is heard', async () => {
    const job = [...'sotwesesekadx'];
    for (const lie of LIES) {
      for (let at = 0; at < job.length; at++) {
        const before = sayAll(job.slice(0, at));
        const step = job.slice(0, at).filter((letter) => letter === 's').length - 1;
        const truth = await hear([before]);
        const said = Buffer.concat([before, lie(Math.max(step, 0)), output('behind'), done()]);
        const { verdict, heard } = await hear([said]);
        expect([verdict, heard], `${lie} after ${job.slice(0, at).join('')}`).toEqual([
          'broken',
          truth.heard,
        ]);
      }
    }
  });

  it('of a frame said twice is broken, or the frame says nothing twice', async () => {
    const job = [...'sewsesekadx'];
    const mayRepeat = new Set(['o', 't', 'w', 'a', 'd', 'k']);
    for (const [at, word] of job.entries()) {
      if (mayRepeat.has(word) || word === 'x') continue;
      const doubled = [...job.slice(0, at + 1), ...job.slice(at)];
      expect((await hear([sayAll(doubled)])).verdict, doubled.join('')).toBe('broken');
    }
  });
});
