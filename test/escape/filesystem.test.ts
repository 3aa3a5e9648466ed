/** The root is read-only, what is writable is small, and nothing of it reaches the next job. */
import { statfsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { api, attack, expectNothingLeft, otherThan } from './attack.ts';

const MIB = 1024 * 1024;

/** What opens for writing without being writable: each refuses the write itself (see E25). */
const OPENS_ONLY = /^writable \/proc\/1\/(task\/1\/)?(attr\/\w+|timerslack_ns)$/;

describe('places', () => {
  test('F01 only the three folders of the sandbox take files', async () => {
    const { lines } = await attack('writable-places.c');
    expect(lines.at(-1)).toBe('walked /');
    const made = lines.filter((line) => /^(file|folder)-in /.test(line));
    expect(made.sort()).toEqual([
      'file-in /dev/shm',
      'file-in /tmp',
      'file-in /work',
      'folder-in /dev/shm',
      'folder-in /tmp',
      'folder-in /work',
    ]);
  });

  test('E21 E22 F13 no file of image, /proc or /sys is writable, no socket or set-id file is there', async () => {
    const { lines } = await attack('writable-places.c');
    const found = lines.filter(
      (line) => /^(writable|socket|set-id) /.test(line) && !OPENS_ONLY.test(line),
    );
    expect(found).toEqual([]);
  });

  test('F02 the files that the engine makes are read-only', async () => {
    const args = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf', '/etc/passwd', '/new'];
    const { verdicts } = await attack('known-files.sh', { args });
    expect(Object.keys(verdicts)).toEqual(args);
    expect(otherThan(verdicts, 'EROFS', 'EACCES')).toEqual([]);
  });

  test('F08 no device is made, and only harmless ones open', async () => {
    const { verdicts } = await attack('device-nodes.c');
    const made = Object.entries(verdicts).filter(([name]) => name.startsWith('mknod-'));
    expect(made).toHaveLength(6);
    expect(otherThan(Object.fromEntries(made), 'EPERM')).toEqual([]);
    const opened = Object.entries(verdicts).filter(([, verdict]) => verdict === 'OK');
    expect(opened.map(([name]) => name).sort()).toEqual([
      '/dev/full',
      '/dev/null',
      '/dev/ptmx',
      '/dev/random',
      '/dev/urandom',
      '/dev/zero',
    ]);
  });

  test('F21 no program runs from /tmp or /dev/shm', async () => {
    const { verdicts } = await attack('run-from-tmp.c');
    expect(verdicts).toEqual({
      'map-/tmp': 'EPERM',
      'exec-/tmp': 'EACCES',
      'map-/dev/shm': 'EPERM',
      'exec-/dev/shm': 'EACCES',
    });
  });
});

describe('amounts', () => {
  test('F03 F04 F11 bytes, files and sizes end at their limits', async () => {
    const { result, verdicts } = await attack('fill.c', { args: ['/work'] });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(verdicts).toMatchObject({
      'truncate-1T': 'EFBIG',
      'fallocate-1T': 'EFBIG',
      'write-at-1T': 'EFBIG',
      empty: 'ENOSPC',
    });
    expect(Number(verdicts.bytes)).toBeLessThanOrEqual(64 * MIB);
    expect(Number(verdicts.files)).toBeLessThan(5000);
  });

  test('F03 what a job writes is not on the disk of the host', async () => {
    const free = () => {
      const { bavail, bsize } = statfsSync('/');
      return bavail * bsize;
    };
    const before = free();
    const limits = { memoryMb: 1536, workspaceMb: 1024 };
    const script = 'cat /dev/zero > full; [ $(stat -c %s full) -gt 1000000000 ] && sleep 1';
    const job = api.run({ command: ['sh', '-c', script], limits, timeoutMs: 30_000 });
    let least = before;
    const watch = setInterval(() => {
      least = Math.min(least, free());
    }, 20);
    const { outcome } = await job.finally(() => clearInterval(watch));
    expect(outcome?.kind).toBe('exited');
    expect(before - least).toBeLessThan(700 * MIB);
  });
});

describe('what stays', () => {
  test('F06 M07 the next jobs find nothing of what a job left', async () => {
    for (let run = 0; run < 2; run++) {
      const { lines } = await attack('leave-marks.sh');
      expect(lines).toEqual(['/work', '/tmp', '/dev/shm']);
    }
    for (let run = 0; run < 4; run++) {
      const { verdicts } = await attack('look-around.sh');
      expect(verdicts).toMatchObject({ left: '', strangers: '0', shm: '0' });
    }
  });
});

expectNothingLeft();
