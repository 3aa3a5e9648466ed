import { describe, expect, it } from 'vitest';
import {
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  TRUNCATE,
} from '../../../services/worker/protocol/frame.ts';
import {
  BINARIES,
  collect,
  jobFrames,
  lastStep,
  python,
  runJob,
  sh,
  startGuest,
} from './harness.ts';

/** Every byte tells its place, so that a wrong one shows. */
function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  return bytes;
}
const printPattern = (length: number, fd: number) =>
  python(
    `import os\nb = bytes((i * 31 + (i >> 8)) & 255 for i in range(${length}))\n` +
      `while b: b = b[os.write(${fd}, b):]`,
  );

describe.each(BINARIES)('%s', (binary) => {
  for (const cap of [0, 1, 1001, 200_000]) {
    for (const length of [cap - 1, cap, cap + 1, 2 * cap + 7, cap + 150_001]) {
      if (length < 0 || (cap < 1000 && length > 1000 + cap)) continue;
      it(`of ${length} bytes with a cap of ${cap} the right ones are kept`, async () => {
        const all = pattern(length);
        await Promise.all(
          Object.values(TRUNCATE).map(async (truncate) => {
            const limits = { stdoutBytes: cap, stderrBytes: cap, truncate };
            const steps = [printPattern(length, 1 + (truncate % 2))];
            const report = await runJob({ binary }, { limits, steps });
            const onStderr = truncate === TRUNCATE.tail;
            const head = onStderr ? report.stderr : report.stdout;
            const tail = onStderr ? report.stderrTail : report.stdoutTail;
            const end = lastStep(report);
            expect(onStderr ? end.stderrTotal : end.stdoutTotal).toBe(length);
            expect(onStderr ? end.stdoutTotal : end.stderrTotal).toBe(0);
            const tailCap = { 0: 0, 1: cap, 2: Math.floor(cap / 2) }[truncate];
            const kept = Math.min(length, cap - tailCap);
            expect(head.equals(all.subarray(0, kept))).toBe(true);
            const last = Math.min(length - kept, tailCap);
            expect(tail.equals(all.subarray(length - last))).toBe(true);
          }),
        );
      });
    }
  }

  it('both streams are capped apart, and each step anew', async () => {
    const limits = { stdoutBytes: 3, stderrBytes: 5 };
    const steps = [sh('printf abcdefgh; printf ABCDEFGH >&2'), sh('printf 12345678')];
    const report = await runJob({ binary }, { limits, steps });
    expect(report.stdout.toString()).toBe('abc123');
    expect(report.stderr.toString()).toBe('ABCDE');
    expect(report.steps.map(({ stdoutTotal }) => stdoutTotal)).toEqual([8, 8]);
  });

  it('every byte value passes as it is', async () => {
    const report = await runJob(
      { binary },
      { steps: [python('import os\nos.write(1, bytes(range(256)) * 3)')] },
    );
    const expected = Buffer.from(Array.from({ length: 768 }, (_, i) => i & 0xff));
    expect(report.stdout.equals(expected)).toBe(true);
  });

  it("what looks like the guest's own frames is payload", async () => {
    const forged = Buffer.concat([
      encodeFrame(FROM_GUEST.STEP_END, encodeInts(0, 0, 0, 0, 0, 0, 0, 0, 0)),
      encodeFrame(FROM_GUEST.DONE, encodeInts(0, 0, 0, 0, 0)),
    ]);
    const files = [{ path: 'forged', content: forged }];
    const report = await runJob({ binary }, { files, steps: [sh('cat forged; exit 7')] });
    expect(report.stdout.equals(forged)).toBe(true);
    expect(lastStep(report).code).toBe(7);
  });

  it('output arrives while the program runs', async () => {
    const guest = await startGuest({ binary });
    guest.send(...jobFrames({ steps: [sh('printf now; sleep 20')] }));
    await guest.expect(FROM_GUEST.STARTED);
    expect((await guest.expect(FROM_GUEST.STDOUT)).payload.toString()).toBe('now');
  });

  it('a program that closes all it was given still runs to its end', async () => {
    const report = await runJob(
      { binary },
      { steps: [sh('exec 0<&- 1>&- 2>&-; sleep 0.3; exit 4')] },
    );
    expect(lastStep(report).code).toBe(4);
    expect(lastStep(report).wallUs).toBeGreaterThan(290_000);
  });

  it('O16 a worker that does not read delays neither the deadline nor the kill of the job', async () => {
    const guest = await startGuest({ binary });
    const job = {
      limits: { wallMs: 400, stdoutBytes: 64 << 20, truncate: TRUNCATE.head },
      steps: [sh('cat /dev/zero')],
    };
    guest.pauseStdout();
    guest.send(...jobFrames(job));
    await new Promise((done) => setTimeout(done, 900));
    guest.resumeStdout();
    const report = await collect(guest, job);
    const end = lastStep(report);
    expect(end.cause).toBe(1);
    expect(end.wallUs).toBeLessThan(700_000);
    expect(report.stdout.length).toBe(end.stdoutTotal);
  });

  it('a pipe made larger by the job is read to its end', async () => {
    const script = `
import fcntl, os
size = fcntl.fcntl(1, 1031, 1 << 20)
os.write(1, b'x' * size)
os._exit(0)`;
    const report = await runJob({ binary }, { steps: [python(script)] });
    expect(report.stdout.length).toBeGreaterThanOrEqual(65_536);
    expect(report.stdout.length).toBe(lastStep(report).stdoutTotal);
  });

  it('a worker that has closed its reading side ends the guest', async () => {
    const guest = await startGuest({ binary });
    guest.closeStdout();
    guest.send(...jobFrames({ steps: [sh('yes')] }));
    expect(await guest.exitCode()).toBe(0);
  });
});
