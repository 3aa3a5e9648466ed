/** Who a job is, and that it becomes nobody else. */
import { describe, expect, test } from 'vitest';
import { api, attack, expectNothingLeft, otherThan, RUNTIME, requestOf } from './attack.ts';

describe('identity', () => {
  test('E01 the job has no capability, no group and no new privileges', async () => {
    const { stdout } = await api.run({ command: ['cat', '/proc/self/status'] });
    const status = Object.fromEntries(
      stdout.split('\n').map((line) => line.split(/:\s*/) as [string, string]),
    );
    const nothing = '0000000000000000';
    expect(status).toMatchObject({ CapEff: nothing, CapPrm: nothing, CapInh: nothing });
    expect(status.Seccomp).toBe('2');
    // gVisor shows neither of the other two.
    if (RUNTIME === 'runc') expect(status).toMatchObject({ CapAmb: nothing, NoNewPrivs: '1' });
    expect(status.Groups?.trim()).toBe('');
    const ids = [...`${status.Uid}\t${status.Gid}`.split('\t')].map(Number);
    expect(new Set(ids).size).toBe(1);
    expect(ids[0]).toBeGreaterThanOrEqual(200_000);
  });

  test('P15 no call makes a job root, another user or more capable', async () => {
    const { verdicts } = await attack('become-root.c');
    const { uids, setfsuid, 'no-new-privs-off': noNewPrivs, ...others } = verdicts;
    expect({ uids, setfsuid, noNewPrivs }).toEqual({
      uids: '1',
      setfsuid: 'REFUSED',
      noNewPrivs: 'EINVAL',
    });
    expect(Object.keys(others)).toHaveLength(15);
    expect(otherThan(others, 'EPERM', 'EINVAL', 'EOPNOTSUPP')).toEqual([]);
  });

  test('F07 a file that its owner makes set-id changes nobody', async () => {
    const request = requestOf('whoami.c', {});
    const [compile] = request.steps ?? [];
    const { steps } = await api.run({
      ...request,
      steps: [
        ...(compile ? [compile] : []),
        { name: 'plain', command: ['./attack'] },
        { name: 'set', command: ['chmod', '6755', 'attack'] },
        { name: 'run', command: ['./attack'] },
      ],
    });
    expect(steps?.[3]?.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(steps?.[3]?.stdout).toBe(steps?.[1]?.stdout);
    expect(steps?.[3]?.stdout).not.toMatch(/\b0\b/);
  });
});

describe('kernel', () => {
  test('E05 E07 E16 E17 F10 M15 calls that steer the machine are denied', async () => {
    const { verdicts } = await attack('kernel-control.c');
    expect(Object.keys(verdicts).length).toBeGreaterThan(40);
    expect(otherThan(verdicts, 'EPERM')).toEqual([]);
  });

  test('E08 E09 no namespace is made or entered', async () => {
    const { verdicts } = await attack('namespaces.c');
    const { clone3, ...others } = verdicts;
    expect(clone3).toMatch(/^(ENOSYS|EPERM)$/);
    expect(Object.keys(others)).toHaveLength(31);
    expect(otherThan(others, 'EPERM')).toEqual([]);
  });

  test('F09 nothing is mounted, unmounted or made the root', async () => {
    const { verdicts } = await attack('mounts.c');
    expect(Object.keys(verdicts)).toHaveLength(20);
    expect(otherThan(verdicts, 'EPERM', 'ENOSYS')).toEqual([]);
  });

  test('T12 T14 no clock is set, no priority won and no limit raised', async () => {
    const { verdicts } = await attack('clock-and-priority.c');
    const { 'nice-now': nice, ...others } = verdicts;
    expect(Object.keys(others)).toHaveLength(13);
    if (RUNTIME === 'runsc') {
      // Its kernel keeps the number and does nothing with it; the host's scheduler never hears of it.
      expect({ nice, call: others.nice }).toEqual({ nice: '-20', call: 'OK' });
      const { nice: _, ...rest } = others;
      expect(otherThan(rest, 'EPERM', 'EACCES', 'EINVAL', 'ENOSYS')).toEqual([]);
      return;
    }
    expect(nice).toBe('0');
    expect(otherThan(others, 'EPERM', 'EACCES')).toEqual([]);
  });
});

describe('loader', () => {
  test('E33 what a caller preloads is loaded into the job alone', async () => {
    const request = requestOf('preload.c', {});
    const evil = '/work/preload.so';
    const { steps, artifacts, outcome } = await api.run({
      ...request,
      env: {
        LD_PRELOAD: evil,
        LD_AUDIT: evil,
        BASH_ENV: '/work/bash-env',
        GLIBC_TUNABLES: 'glibc.malloc.check=3:glibc.malloc.check=3=A',
      },
      steps: [
        { name: 'compile', command: ['gcc', '-shared', '-fPIC', '-o', evil, 'preload.c'] },
        { name: 'run', command: ['id', '-u'] },
        { name: 'bash', command: ['bash', '-c', 'true'] },
        { name: 'show', command: ['cat', 'loaded'] },
      ],
    });
    expect({ outcome, artifacts }).toEqual({
      outcome: { kind: 'exited', exitCode: 0 },
      artifacts: [],
    });
    const uid = steps?.[1]?.stdout.trim();
    const loaded = (steps?.[3]?.stdout ?? '').trim().split('\n');
    expect(loaded.length).toBeGreaterThan(1);
    expect(loaded.filter((line) => line.split(' ')[0] === '1')).toEqual([]);
    expect(loaded.filter((line) => line.split(' ')[1] !== uid)).toEqual([]);
  });
});

expectNothingLeft();
