import { describe, expect, it } from 'vitest';
import {
  CAUSE,
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  TO_GUEST,
} from '../../../services/worker/protocol/frame.ts';
import {
  BINARIES,
  type Guest,
  inOneSandbox,
  type Job,
  jobFrames,
  lastStep,
  type Options,
  python,
  runIn,
  sh,
  startGuest,
} from './harness.ts';
import { collect } from './report.ts';

describe.each(BINARIES)('%s', (binary) => {
  /** The reports on two jobs in one sandbox. */
  const afterwards = (first: Job, second: Job, options: Omit<Options, 'binary'> = {}) =>
    inOneSandbox({ binary, ...options }, async (guest) => {
      const before = await runIn(guest, first);
      await guest.reset();
      return { before, after: await runIn(guest, second) };
    });

  it('that is asked for right behind the job is done after it, however the job ends', async () => {
    await inOneSandbox({ binary }, async (guest) => {
      for (const job of [sh('echo 1 > /work/a; echo one'), sh('exit 3'), { argv: ['/no/such'] }]) {
        guest.send(...jobFrames({ steps: [job] }), encodeFrame(TO_GUEST.RESET));
        await collect(guest, { steps: [job] });
        await guest.hello();
      }
      const after = await runIn(guest, { steps: [sh('ls -A /work /tmp; echo left')] });
      expect(after.stdout.toString()).toBe('/tmp:\n\n/work:\nleft\n');
    });
  });

  it('stdin and output of one job do not reach the next', async () => {
    const first: Job = {
      limits: { truncate: 2, stdoutBytes: 10 },
      steps: [{ ...sh('seq 1000; echo err >&2'), stdin: Buffer.alloc(300_000, 's') }],
    };
    const second: Job = {
      steps: [{ ...sh('cat; echo second'), stdin: Buffer.from('in') }],
      collect: ['*'],
    };
    const { after } = await afterwards(first, second);
    expect(after.stdout.toString()).toBe('insecond\n');
    expect([after.stdoutTail.length, after.stderr.length, after.artifacts.size]).toEqual([0, 0, 0]);
    expect(lastStep(after)).toMatchObject({ step: 0, stdoutTotal: 9, stderrTotal: 0 });
  });

  it('counters begin anew, also the peak of memory', async () => {
    const first: Job = {
      limits: { processes: 1000 },
      steps: [
        python(`
import os, time
x = bytearray(40 << 20)
try:
  while True:
    if os.fork() == 0: time.sleep(9)
except OSError: pass
end = time.process_time() + 0.3
while time.process_time() < end: pass
x = [bytearray(1 << 20) for _ in range(500)]`),
      ],
    };
    const cgroup = { 'pids.max': '20', 'memory.limit_in_bytes': `${64 << 20}` };
    const { before, after } = await afterwards(
      first,
      { steps: [sh('exec sleep 0.05')] },
      { cgroup },
    );
    expect(before.done.oomKills).toBeGreaterThan(0);
    expect(before.done.forksRefused).toBeGreaterThan(0);
    expect(before.done.peakMemoryBytes).toBeGreaterThan(48 << 20);
    expect(after.done).toMatchObject({ peakProcesses: 1, oomKills: 0, forksRefused: 0 });
    expect(after.done.cpuUs).toBeLessThan(before.done.cpuUs / 2);
    expect(after.done.peakMemoryBytes).toBeGreaterThan(0);
    expect(after.done.peakMemoryBytes).toBeLessThan(before.done.peakMemoryBytes / 2);
  });

  it('memory below the peak of the job before is seen all the same', async () => {
    const use = (mib: number) => ({
      steps: [python(`import time; x = bytearray(${mib} << 20); time.sleep(0.2)`)],
    });
    const { after } = await afterwards(use(80), use(30));
    expect(after.done.peakMemoryBytes).toBeGreaterThan(30 << 20);
    expect(after.done.peakMemoryBytes).toBeLessThan(70 << 20);
  });

  it.each<[string, Job, Buffer[]]>([
    ['was refused', { files: [{ path: '..' }] }, []],
    ['failed', { steps: [sh('exit 9')] }, []],
    ['was stopped at its deadline', { limits: { wallMs: 200 }, steps: [sh('sleep 20')] }, []],
    [
      'was killed',
      { steps: [sh('sleep 20')] },
      [encodeFrame(TO_GUEST.KILL, encodeInts(CAUSE.CANCELLED))],
    ],
  ])('a sandbox whose job %s can be reset', async (_, first, more) => {
    const { after } = await inOneSandbox({ binary }, async (guest) => {
      guest.send(...jobFrames(first), ...more);
      await runToDone(guest);
      await guest.reset();
      return { after: await runIn(guest, { steps: [sh('echo on')] }) };
    });
    expect(after.stdout.toString()).toBe('on\n');
  });

  it('what the worker said before it had read DONE is forgotten', async () => {
    await inOneSandbox({ binary }, async (guest) => {
      await runIn(guest, {});
      guest.send(
        encodeFrame(TO_GUEST.KILL, encodeInts(CAUSE.CANCELLED)),
        encodeFrame(TO_GUEST.STDIN_END, encodeInts(0)),
      );
      await guest.reset();
      expect(lastStep(await runIn(guest, {}))).toMatchObject({ cause: CAUSE.NONE, code: 0 });
    });
  });

  it('a hundred jobs can run in one sandbox', { timeout: 60_000 }, async () => {
    await inOneSandbox({ binary }, async (guest) => {
      for (let job = 0; job < 100; job++) {
        const step = sh('ls -A; echo x >file; echo y >/tmp/file; exit $1');
        const report = await runIn(guest, {
          steps: [{ argv: [...step.argv, 'sh', `${job}`] }],
          collect: ['file'],
        });
        expect(report.stdout.toString()).toBe('');
        expect(lastStep(report).code).toBe(job);
        expect([...report.artifacts.keys()]).toEqual(['file']);
        if (job < 99) await guest.reset();
      }
    });
  });

  it('a guest that was reset has its idle time before it, and not what was left of the job’s life', async () => {
    const guest = await startGuest({ binary, idleSeconds: 1 });
    await runIn(guest, { limits: { lifeMs: 500 } });
    const before = Date.now();
    await guest.reset();
    expect(await guest.exitCode()).toBe(3);
    expect(Date.now() - before).toBeGreaterThan(990);
  });

  it('the end of stdin ends a guest that was reset', async () => {
    const guest = await startGuest({ binary });
    await runIn(guest, {});
    await guest.reset();
    guest.closeStdin();
    expect(await guest.exitCode()).toBe(0);
  });
});

/** Whatever it says of its job. */
async function runToDone(guest: Guest): Promise<void> {
  while ((await guest.next())?.type !== FROM_GUEST.DONE);
}
