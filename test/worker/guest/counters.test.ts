import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CAUSE, FROM_GUEST } from '../../../services/worker/protocol/frame.ts';
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

describe.each(BINARIES)('%s', (binary) => {
  let cgroupFolder = '';
  beforeEach(() => {
    cgroupFolder = mkdtempSync(join(tmpdir(), 'guest-cgroup-'));
  });
  afterEach(() => rmSync(cgroupFolder, { recursive: true }));

  const write = (file: string, content: string) => writeFileSync(join(cgroupFolder, file), content);
  const cpu = (us: number) =>
    write('cpu.stat', `nr_periods 5\nusage_usec ${us}\nuser_usec 1\nsystem_usec 2\n`);

  function version2(): void {
    cpu(5_000_000);
    write('memory.peak', '77000000\n');
    write('memory.current', '9000000\n');
    write('memory.events', 'low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n');
    write('pids.peak', '12\n');
    write('pids.current', '3\n');
    write('pids.events', 'max 4\n');
  }

  it('the counters of version 2 are read, as differences where they count events', async () => {
    version2();
    const guest = await startGuest({ binary, cgroupFolder });
    const job = { steps: [sh('echo; sleep 0.3')] };
    guest.send(...jobFrames(job));
    await guest.expect(FROM_GUEST.STARTED);
    await guest.expect(FROM_GUEST.STDOUT);
    cpu(6_500_000);
    write('memory.events', 'low 0\nhigh 0\nmax 9\noom 3\noom_kill 5\noom_group_kill 0\n');
    write('pids.events', 'max 10\n');
    write('pids.peak', '14\n');
    write('memory.peak', '79000000\n');
    const report = await collect(guest, job);
    expect(lastStep(report)).toMatchObject({ cpuUs: 1_500_000, oomKills: 3 });
    expect(report.done).toEqual({
      cpuUs: 1_500_000,
      peakMemoryBytes: 79_000_000,
      peakProcesses: 13,
      oomKills: 3,
      forksRefused: 6,
    });
  });

  it('the cpu time of version 2 ends a step', async () => {
    version2();
    const guest = await startGuest({ binary, cgroupFolder });
    const job = { limits: { cpuMs: 100 }, steps: [sh('echo; sleep 20')] };
    guest.send(...jobFrames(job));
    await guest.expect(FROM_GUEST.STARTED);
    await guest.expect(FROM_GUEST.STDOUT);
    cpu(5_099_000);
    await new Promise((done) => setTimeout(done, 200));
    cpu(5_100_000);
    expect(lastStep(await collect(guest, job)).cause).toBe(CAUSE.CPU);
  });

  it('a kernel without a peak of processes has its current number looked at', async () => {
    mkdirSync(join(cgroupFolder, 'pids'));
    write('pids/pids.current', '9\n');
    const report = await runJob({ binary, cgroupFolder }, {});
    expect(report.done.peakProcesses).toBe(8);
  });

  it('a peak of version 2 from before the job has the current number looked at', async () => {
    version2();
    const { done } = await runJob({ binary, cgroupFolder }, {});
    expect(done).toMatchObject({ peakProcesses: 2, peakMemoryBytes: 9_000_000 });
  });

  it('the current number is looked at also while a job does nothing to wake the guest', async () => {
    version2();
    const guest = await startGuest({ binary, cgroupFolder });
    const job = { steps: [sh('echo; sleep 1')] };
    guest.send(...jobFrames(job));
    await guest.expect(FROM_GUEST.STARTED);
    await guest.expect(FROM_GUEST.STDOUT);
    write('memory.current', '50000000\n');
    write('pids.current', '7\n');
    await new Promise((done) => setTimeout(done, 500));
    write('memory.current', '9000000\n');
    write('pids.current', '3\n');
    const { done } = await collect(guest, job);
    expect(done).toMatchObject({ peakProcesses: 6, peakMemoryBytes: 50_000_000 });
  });

  it('processes from before the guest are not the job’s', async () => {
    const peakOf = async (script: string) =>
      (await runJob({ binary, processesBefore: 20 }, { steps: [sh(script)] })).done.peakProcesses;
    expect(await peakOf('exec true')).toBe(1);
    const five = await peakOf('for i in 1 2 3 4; do sleep 0.5 & done; echo; wait');
    expect(five).toBe(5);
    expect(await peakOf('for i in $(seq 30); do sleep 0.5 & done; wait')).toBe(31);
  });

  it('a job that was refused had no process', async () => {
    const { done } = await runJob({ binary }, { files: [{ path: '..' }] });
    expect(done.peakProcesses).toBe(0);
  });

  it('without a cgroup the sums over the dead and the living stand in', async () => {
    const burn = python(
      'import time\nx = bytearray(50 << 20)\nwhile time.process_time() < 0.3: pass',
    );
    const { done, steps } = await runJob({ binary, cgroupFolder: '' }, { steps: [burn] });
    expect(done.cpuUs).toBeGreaterThan(290_000);
    expect(steps[0]?.cpuUs).toBeGreaterThan(290_000);
    expect(done.peakMemoryBytes).toBeGreaterThan(50 << 20);
    expect(done).toMatchObject({ peakProcesses: 1, oomKills: 0, forksRefused: 0 });
  });

  it('without a cgroup cpu time ends a step all of which is alive', async () => {
    const burn = sh('(while :; do :; done) & (while :; do :; done) & wait');
    const limits = { cpuMs: 500, wallMs: 20_000 };
    const { steps } = await runJob({ binary, cgroupFolder: '' }, { limits, steps: [burn] });
    expect(steps[0]?.cause).toBe(CAUSE.CPU);
    expect(steps[0]?.cpuUs).toBeGreaterThanOrEqual(500_000);
  });
});
