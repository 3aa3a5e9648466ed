import { describe, expect, it } from 'vitest';
import { CAUSE, KIND } from '../../../services/worker/protocol/frame.ts';
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

const KILLED = { kind: KIND.SIGNALED, code: 9 };

describe.each(BINARIES)('%s', (binary) => {
  it('a program that sleeps past the wall clock is killed, whatever signals it ignores', async () => {
    const steps = [sh('trap "" TERM INT HUP ALRM; echo on; sleep 20')];
    const report = await runJob({ binary }, { limits: { wallMs: 300 }, steps });
    const end = lastStep(report);
    expect(end).toMatchObject({ cause: CAUSE.WALL, ...KILLED });
    expect(end.wallUs).toBeGreaterThanOrEqual(300_000);
    expect(end.wallUs).toBeLessThan(600_000);
    expect(end.cpuUs).toBeLessThan(200_000);
    expect(report.stdout.toString()).toBe('on\n');
  });

  it('the wall clock is that of all steps together', async () => {
    const steps = [sh('sleep 0.3'), sh('sleep 0.3'), sh('sleep 20')];
    const report = await runJob({ binary }, { limits: { wallMs: 500 }, steps });
    expect(report.steps.map(({ cause }) => cause)).toEqual([CAUSE.NONE, CAUSE.WALL]);
  });

  it("a step has a clock of its own, and ends with the job's cause for it", async () => {
    const steps = [sh('sleep 0.1'), { ...sh('sleep 20'), timeoutMs: 200 }];
    const report = await runJob({ binary }, { steps });
    expect(lastStep(report)).toMatchObject({ step: 1, cause: CAUSE.WALL, ...KILLED });
  });

  it('a program that computes past its cpu time is killed close to it', async () => {
    const limits = { cpuMs: 300, cpuMilli: 1000 };
    const end = lastStep(await runJob({ binary }, { limits, steps: [sh('while :; do :; done')] }));
    expect(end).toMatchObject({ cause: CAUSE.CPU, ...KILLED });
    expect(end.cpuUs).toBeGreaterThanOrEqual(290_000);
    expect(end.cpuUs).toBeLessThan(450_000);
  });

  it('cpu time is that of the whole tree, of short children too', async () => {
    const steps = [sh('while :; do /bin/true; done & wait')];
    const limits = { cpuMs: 200, cpuMilli: 2000 };
    expect(lastStep(await runJob({ binary }, { limits, steps }))).toMatchObject({
      cause: CAUSE.CPU,
      ...KILLED,
    });
  });

  it('cpu time is that of all steps together', async () => {
    const burn = python('import time\nwhile time.process_time() < 0.25: pass');
    const limits = { cpuMs: 400, cpuMilli: 1000 };
    const report = await runJob({ binary }, { limits, steps: [burn, burn] });
    expect(report.steps.map(({ cause }) => cause)).toEqual([CAUSE.NONE, CAUSE.CPU]);
    expect(report.done.cpuUs).toBeGreaterThanOrEqual(390_000);
  });

  it('a fork bomb is bounded and ends at its deadline', async () => {
    const bomb = python(
      'import os\nwhile True:\n  try: os.fork()\n  except OSError as e: last = e.errno',
    );
    const limits = { wallMs: 700, processes: 30 };
    const report = await runJob({ binary }, { limits, steps: [bomb] });
    expect(lastStep(report)).toMatchObject({ cause: CAUSE.WALL, ...KILLED });
    expect(report.done.peakProcesses).toBeGreaterThanOrEqual(25);
    expect(report.done.peakProcesses).toBeLessThanOrEqual(31);
  });

  it('a fork bomb against the limit of the cgroup is counted', async () => {
    const bomb = python(
      'import os\nwhile True:\n  try: os.fork()\n  except OSError as e: last = e.errno',
    );
    const limits = { wallMs: 500, processes: 1000 };
    const cgroup = { 'pids.max': '20' };
    const report = await runJob({ binary, cgroup }, { limits, steps: [bomb] });
    expect(lastStep(report).cause).toBe(CAUSE.WALL);
    expect(report.done.forksRefused).toBeGreaterThan(0);
    expect(report.done.peakProcesses).toBe(19);
  });

  it('out of memory takes the job and leaves the guest', async () => {
    const cgroup = { 'memory.limit_in_bytes': `${64 << 20}` };
    const steps = [python('x = [bytearray(1 << 20) for _ in range(500)]')];
    const report = await runJob({ binary, cgroup }, { steps });
    expect(lastStep(report)).toMatchObject({ cause: CAUSE.NONE, ...KILLED });
    expect(report.done.oomKills).toBeGreaterThan(0);
    expect(report.done.peakMemoryBytes).toBeGreaterThan(48 << 20);
  });

  it('many processes together run out of memory as well', async () => {
    const cgroup = { 'memory.limit_in_bytes': `${64 << 20}` };
    const child = 'x = bytearray(20 << 20); import time; time.sleep(3)';
    const steps = [sh(`for i in 1 2 3 4 5 6; do python3 -c '${child}' & done; wait; exit 5`)];
    const report = await runJob({ binary, cgroup }, { limits: { wallMs: 1000 }, steps });
    expect(report.done.oomKills).toBeGreaterThan(0);
  });

  it('kills for memory are told of in the step in which they came', async () => {
    const cgroup = { 'memory.limit_in_bytes': `${64 << 20}` };
    const hungry = "python3 -c 'x = [bytearray(1 << 20) for _ in range(500)]'";
    const steps = [sh('true'), sh(`${hungry}; exit 0`), sh('exit 7')];
    const report = await runJob({ binary, cgroup }, { steps });
    expect(report.steps.map(({ oomKills }) => oomKills)).toEqual([0, report.done.oomKills, 0]);
    expect(report.done.oomKills).toBeGreaterThan(0);
  });

  it.each([
    ['stdout', 'cat /dev/zero'],
    ['stderr', 'cat /dev/zero >&2'],
  ])('a flood of %s past the hard limit ends the step', async (_, script) => {
    const limits = { stdoutBytes: 1000, stderrBytes: 1000, streamBytes: 3 << 20 };
    const report = await runJob({ binary }, { limits, steps: [sh(script), sh('true')] });
    const end = lastStep(report);
    expect(end).toMatchObject({ step: 0, cause: CAUSE.OUTPUT, ...KILLED });
    const total = end.stdoutTotal + end.stderrTotal;
    expect(total).toBeGreaterThan(3 << 20);
    expect(total).toBeLessThan(6 << 20);
    expect(report.stdout.length + report.stderr.length).toBe(1000);
  });

  it('exactly the hard limit is not past it', async () => {
    const limits = { streamBytes: 5000 };
    const run = async (bytes: number) =>
      lastStep(await runJob({ binary }, { limits, steps: [sh(`head -c ${bytes} /dev/zero`)] }));
    expect(await run(5000)).toMatchObject({ cause: CAUSE.NONE, kind: KIND.EXITED, code: 0 });
    expect(await run(5001)).toMatchObject({ cause: CAUSE.OUTPUT });
  });

  it('resource limits are those of the job and cannot be raised again', async () => {
    const script = `
import resource as r
for name in 'NOFILE', 'FSIZE', 'CORE', 'NPROC':
  kind = getattr(r, 'RLIMIT_' + name)
  print(name, *r.getrlimit(kind))
  try: r.setrlimit(kind, (10**6, 10**6)); print('raised')
  except (ValueError, OSError): pass`;
    const limits = { openFiles: 50, fileBytes: 1_000_00, processes: 40 };
    const report = await runJob({ binary }, { limits, steps: [python(script)] });
    expect(report.stdout.toString()).toBe(
      'NOFILE 50 50\nFSIZE 100000 100000\nCORE 0 0\nNPROC 40 40\n',
    );
  });

  it('a file larger than allowed is refused to the program', async () => {
    const steps = [python('open("x", "wb").write(bytes(200000))')];
    const report = await runJob({ binary }, { limits: { fileBytes: 100_000 }, steps });
    expect(report.stderr.toString()).toContain('File too large');
  });

  it('a guest without a job ends itself', async () => {
    const guest = await startGuest({ binary, idleSeconds: 1 });
    const before = Date.now();
    expect(await guest.exitCode()).toBe(3);
    expect(Date.now() - before).toBeLessThan(1500);
  });

  it('a guest that nobody tells to exit ends at its last deadline', async () => {
    const guest = await startGuest({ binary });
    const job = { limits: { lifeMs: 300 } };
    guest.send(...jobFrames(job));
    await collect(guest, job);
    expect(await guest.exitCode()).toBe(3);
  });

  it('the last deadline also ends a job that has more time than that', async () => {
    const guest = await startGuest({ binary });
    guest.send(...jobFrames({ limits: { lifeMs: 300 }, steps: [sh('sleep 20')] }));
    expect(await guest.exitCode()).toBe(3);
  });
});
