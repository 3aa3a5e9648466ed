import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  TO_GUEST,
} from '../../../services/worker/protocol/frame.ts';
import {
  BINARIES,
  collect,
  ints,
  jobFrames,
  lastStep,
  runJob,
  sh,
  startGuest,
  text,
} from './harness.ts';

const TEN_MEGABYTES = Buffer.alloc(10_000_000, 'stdin is pulled and never pushed; ');

describe.each(BINARIES)('%s', (binary) => {
  it('ten megabytes reach a program that reads them', async () => {
    const steps = [{ ...sh('cat | sha256sum'), stdin: TEN_MEGABYTES }];
    const report = await runJob({ binary }, { steps });
    const hash = createHash('sha256').update(TEN_MEGABYTES).digest('hex');
    expect(report.stdout.toString()).toBe(`${hash}  -\n`);
  });

  it('a program that does not read is asked for no more than fits, and harms nobody', async () => {
    const steps = [{ ...sh('sleep 0.3; echo done'), stdin: TEN_MEGABYTES }];
    const report = await runJob({ binary }, { steps });
    expect(lastStep(report)).toMatchObject({ cause: 0, kind: 0, code: 0 });
    expect(report.wanted).toBeLessThanOrEqual(65_536 * 4);
  });

  it('a program that closes its stdin runs on', async () => {
    const steps = [{ ...sh('head -c 3; exec 0<&-; sleep 0.2; echo end'), stdin: TEN_MEGABYTES }];
    const report = await runJob({ binary }, { steps });
    expect(report.stdout.toString()).toBe('stdend\n');
    expect(lastStep(report).code).toBe(0);
  });

  it('each step has its own stdin, or none', async () => {
    const steps = [
      { ...sh('cat; cat'), stdin: text('one ') },
      sh('cat; readlink /proc/self/fd/0'),
      { ...sh('cat'), stdin: text('three') },
      { ...sh('cat; echo .'), stdin: text('') },
    ];
    const report = await runJob({ binary }, { steps });
    expect(report.stdout.toString()).toBe('one /dev/null\nthree.\n');
  });

  it('stdin that arrives after its step ended is not the next one’s', async () => {
    const guest = await startGuest({ binary });
    const steps = [
      { ...sh('true'), stdin: text('') },
      { ...sh('cat'), stdin: text('') },
    ];
    guest.send(...jobFrames({ steps }));
    await guest.expect(FROM_GUEST.STARTED);
    await guest.expect(FROM_GUEST.WANT);
    await guest.expect(FROM_GUEST.STEP_END);
    await guest.expect(FROM_GUEST.STARTED);
    await guest.expect(FROM_GUEST.WANT);
    guest.send(
      encodeFrame(TO_GUEST.STDIN, encodeInts(0), text('late')),
      encodeFrame(TO_GUEST.STDIN_END, encodeInts(0)),
      encodeFrame(TO_GUEST.STDIN, encodeInts(1), text('right')),
      encodeFrame(TO_GUEST.STDIN_END, encodeInts(1)),
    );
    const report = await collect(guest, { steps });
    expect(report.stdout.toString()).toBe('right');
  });

  it('a little at a time is answered with a wish for a little more', async () => {
    const guest = await startGuest({ binary });
    const job = { steps: [{ ...sh('cat'), stdin: text('') }] };
    guest.send(...jobFrames(job));
    await guest.expect(FROM_GUEST.STARTED);
    let room = 0;
    let echoed = '';
    while (echoed.length < 20) {
      const frame = await guest.next();
      if (frame?.type === FROM_GUEST.STDOUT) echoed += frame.payload.toString();
      if (frame?.type !== FROM_GUEST.WANT) continue;
      room += ints(['bytes'], frame.payload).bytes;
      expect(room).toBeLessThanOrEqual(65_536);
      guest.send(encodeFrame(TO_GUEST.STDIN, encodeInts(0), text('x')));
      room -= 1;
    }
    expect(echoed).toMatch(/^x+$/);
  });

  it.each([
    ['more than was wanted', [encodeFrame(TO_GUEST.STDIN, encodeInts(0), Buffer.alloc(65_537))]],
    ['stdin of a step to come', [encodeFrame(TO_GUEST.STDIN, encodeInts(1), text('x'))]],
    [
      'stdin after its end',
      [
        encodeFrame(TO_GUEST.STDIN_END, encodeInts(0)),
        encodeFrame(TO_GUEST.STDIN, encodeInts(0), text('x')),
      ],
    ],
    ['an end with bytes', [encodeFrame(TO_GUEST.STDIN_END, encodeInts(0), text('x'))]],
    ['stdin without a step', [encodeFrame(TO_GUEST.STDIN, text('x'))]],
  ])('%s is a broken frame', async (_, frames) => {
    const guest = await startGuest({ binary });
    guest.send(...jobFrames({ steps: [{ ...sh('sleep 20'), stdin: text('') }] }));
    await guest.expect(FROM_GUEST.STARTED);
    await guest.expect(FROM_GUEST.WANT);
    guest.send(...frames);
    expect(await guest.exitCode()).toBe(2);
  });
});
