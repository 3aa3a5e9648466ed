import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  MAX_PAYLOAD_BYTES,
  TO_GUEST,
} from '../../../services/worker/protocol/frame.ts';
import {
  BINARIES,
  collect,
  jobFrames,
  lastStep,
  limitsFrame,
  sh,
  startGuest,
  text,
} from './harness.ts';

const frame = (type: keyof typeof TO_GUEST, ...parts: Uint8Array[]) =>
  encodeFrame(TO_GUEST[type], ...parts);
const limits = limitsFrame();
const step = frame('STEP', encodeInts(1000, 0));
const arg = frame('ARG', text('true'));
const run = frame('RUN');
const header = (type: number, length: number) => {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32BE(length, 1);
  return bytes;
};

describe.concurrent.each(BINARIES)('%s', (binary) => {
  it('frames may arrive in any pieces', async () => {
    const files = [{ path: 'x', content: 'content' }];
    const job = { files, cwd: 'd', steps: [sh('cat ../x; exit 9')], collect: ['x'] };
    const bytes = Buffer.concat(jobFrames(job));
    const guest = await startGuest({ binary });
    await guest.sendSlowly(Array.from(bytes, (byte) => Buffer.from([byte])));
    const report = await collect(guest, job);
    expect(report.stdout.toString()).toBe('content');
    expect(lastStep(report).code).toBe(9);
    expect(report.artifacts.get('x')?.toString()).toBe('content');
    await guest.sendSlowly(Array.from(frame('EXIT'), (byte) => Buffer.from([byte])));
    expect(await guest.exitCode()).toBe(0);
  });

  it.each<[string, Uint8Array[]]>([
    ['an unknown type', [header(0, 0)]],
    ['a type of the other direction', [encodeFrame(FROM_GUEST.HELLO, encodeInts(1))]],
    ['an unknown type with more to come', [header(200, 4_000_000_000)]],
    ['a length over the cap', [header(TO_GUEST.LIMITS, MAX_PAYLOAD_BYTES + 1)]],
    ['the largest length', [header(TO_GUEST.LIMITS, 0xffff_ffff)]],
    ['a frame before LIMITS', [step]],
    ['RUN first', [run]],
    ['KILL before RUN', [limits, frame('KILL', encodeInts(1))]],
    ['STDIN before RUN', [limits, frame('STDIN', encodeInts(0))]],
    ['EXIT before a job', [frame('EXIT')]],
    ['RESET before a job', [frame('RESET')]],
    ['LIMITS twice', [limits, limits]],
    ['LIMITS with an integer less', [frame('LIMITS', encodeInts(...Array(12).fill(1)))]],
    ['LIMITS with an integer more', [frame('LIMITS', encodeInts(...Array(14).fill(1)))]],
    ['half an integer', [frame('LIMITS', Buffer.alloc(13 * 8 - 1, 1))]],
    ['a limit beyond all sense', [frame('LIMITS', Buffer.alloc(13 * 8, 255))]],
    ['a wall clock of 0', [limitsFrame({ wallMs: 0 })]],
    ['a cpu time of 0', [limitsFrame({ cpuMs: 0 })]],
    ['a cpu quota of 0', [limitsFrame({ cpuMilli: 0 })]],
    ['a life of 0', [limitsFrame({ lifeMs: 0 })]],
    ['an unknown way to truncate', [limitsFrame({ truncate: 3 })]],
    ['FILE_DATA without a FILE', [limits, frame('FILE_DATA', text('x'))]],
    ['a FILE neither executable nor not', [limits, frame('FILE', encodeInts(2), text('x'))]],
    ['a NUL in a path', [limits, frame('FILE', encodeInts(0), text('a\0b'))]],
    ['a NUL in a working folder', [limits, frame('CWD', text('a\0b'))]],
    ['a NUL in an argument', [limits, step, frame('ARG', text('a\0'))]],
    [
      'a FILE after CWD',
      [limits, frame('CWD', text('d')), frame('FILE', encodeInts(0), text('x'))],
    ],
    ['CWD twice', [limits, frame('CWD', text('d')), frame('CWD', text('e'))]],
    ['a variable without =', [limits, frame('ENV', text('NAME'))]],
    ['a variable without a name', [limits, frame('ENV', text('=x'))]],
    ['an ENV after a STEP', [limits, step, arg, frame('ENV', text('A=b'))]],
    ['an ARG without a STEP', [limits, arg]],
    ['a STEP without an ARG', [limits, step, step]],
    ['a STEP without an ARG at RUN', [limits, step, run]],
    ['a STEP without a timeout', [limits, frame('STEP', encodeInts(0, 0))]],
    ['a STEP after COLLECT', [limits, step, arg, frame('COLLECT', text('*')), step]],
    ['RUN without a STEP', [limits, run]],
    ['RUN with a payload', [limits, step, arg, frame('RUN', text('x'))]],
    ['too many steps', [limits, ...Array(65).fill([step, arg]).flat()]],
    ['too much text', [limits, step, ...Array(65).fill(frame('ARG', Buffer.alloc(131_072, 65)))]],
    ['too many texts', [limits, step, Buffer.concat(Array(65_537).fill(arg))]],
    [
      'a second RUN',
      [
        limits,
        frame('STEP', encodeInts(9000, 0)),
        frame('ARG', text('sleep')),
        frame('ARG', text('9')),
        run,
        run,
      ],
    ],
  ])('%s ends the guest with 2', async (_, frames) => {
    const guest = await startGuest({ binary });
    guest.send(...frames);
    expect(await guest.exitCode()).toBe(2);
    expect(guest.stderr).toContain('guest: ');
  });

  it.each([
    ['KILL for no cause', [frame('KILL', encodeInts(0))]],
    ['KILL for an unknown cause', [frame('KILL', encodeInts(6))]],
    ['KILL without a cause', [frame('KILL')]],
    ['EXIT before DONE', [frame('EXIT')]],
    ['another job', [limits]],
  ])('%s while a job runs ends the guest with 2', async (_, frames) => {
    const guest = await startGuest({ binary });
    guest.send(...jobFrames({ steps: [sh('sleep 20')] }));
    await guest.expect(FROM_GUEST.STARTED);
    guest.send(...frames);
    expect(await guest.exitCode()).toBe(2);
  });

  it('a second job without a reset is refused', async () => {
    const guest = await startGuest({ binary });
    guest.send(...jobFrames({}));
    await collect(guest, {});
    guest.send(...jobFrames({}));
    expect(await guest.exitCode()).toBe(2);
  });

  it('RESET with a frame behind it ends the guest with 2', async () => {
    const guest = await startGuest({ binary });
    guest.send(...jobFrames({}));
    await collect(guest, {});
    guest.send(frame('RESET'), limits);
    expect(await guest.exitCode()).toBe(2);
    expect(guest.stderr).toContain('HELLO');
  });

  it('a frame cut short by the end of stdin ends the guest with 2', async () => {
    const guest = await startGuest({ binary });
    guest.send(limits.subarray(0, 50));
    guest.closeStdin();
    expect(await guest.exitCode()).toBe(2);
  });

  it('whatever arrives, the guest ends in one of its ways', { timeout: 60_000 }, async () => {
    const anything = fc.oneof(
      fc.constantFrom(limits, step, arg, run),
      fc
        .tuple(fc.integer({ min: 0, max: 15 }), fc.uint8Array({ maxLength: 120 }))
        .map(([type, payload]) => encodeFrame(type, payload)),
      fc.uint8Array({ maxLength: 20 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(anything, { maxLength: 8 }), async (frames) => {
        const guest = await startGuest({ binary });
        guest.send(...frames);
        guest.closeStdin();
        expect([0, 2]).toContain(await guest.exitCode());
        await guest.stop();
      }),
      { numRuns: 25 },
    );
  });

  it('nothing but PID 1 starts as a guest', async () => {
    const path = resolve(import.meta.dirname, '../../..', binary);
    const { status, stderr } = spawnSync(path, ['200000', '1'], { timeout: 5000 });
    expect(status).toBe(2);
    expect(stderr.toString()).toContain('process 1');
  });
});
