/** The root is read-only, what is writable is small, and nothing of it reaches the next job. */
import { statfsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { api, attack, expectNothingLeft, otherThan, RUNTIME } from './attack.ts';

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

  test('F13 no file of the image is other after all of it', async () => {
    const hashed =
      'find /bin /etc /lib /sbin /usr/bin /usr/local /usr/sbin -xdev -type f -exec sha256sum {} + 2> /dev/null';
    const command = ['sh', '-c', `${hashed} | sort | sha256sum`];
    const before = await api.run({ command });
    await attack('writable-places.c');
    await attack('known-files.sh', { args: ['/bin/sh', '/etc/passwd', '/usr/bin/env'] });
    const after = await api.run({ command });
    expect(before.stdout).toMatch(/^[0-9a-f]{64} /);
    expect(after.stdout).toBe(before.stdout);
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
    // gVisor makes nodes for anybody, and opens none but those of devices of its own.
    if (RUNTIME === 'runc') expect(otherThan(Object.fromEntries(made), 'EPERM')).toEqual([]);
    const reached = ['disk', 'virtio-disk', 'mem', 'kmsg'].map((name) => verdicts[`open-${name}`]);
    expect(reached.filter((verdict) => verdict === 'OK')).toEqual([]);
    const opened = Object.entries(verdicts).filter(
      ([name, verdict]) => name.startsWith('/dev/') && verdict === 'OK',
    );
    const names = opened.map(([name]) => name);
    // Of gVisor these two lead to its own file systems and network, and no further.
    const inner = RUNTIME === 'runsc' ? ['/dev/fuse', '/dev/net/tun'] : [];
    expect(names.filter((name) => !inner.includes(name)).sort()).toEqual([
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
    // To gVisor `noexec` is about programs alone; what is mapped a job could as well have written into its memory.
    const map = RUNTIME === 'runc' ? 'EPERM' : 'OK';
    expect(verdicts).toEqual({
      'map-/tmp': map,
      'exec-/tmp': 'EACCES',
      'map-/dev/shm': map,
      'exec-/dev/shm': 'EACCES',
    });
  });
});

describe('amounts', () => {
  test('F03 F04 F11 bytes, files and sizes end at their limits', async () => {
    const { result, verdicts } = await attack('fill.c', { args: ['/work', 'files'] });
    expect(verdicts).toMatchObject({
      'truncate-1T': 'EFBIG',
      'fallocate-1T': 'EFBIG',
      'write-at-1T': 'EFBIG',
    });
    expect(Number(verdicts.bytes)).toBeLessThanOrEqual(64 * MIB);
    if (RUNTIME === 'runsc') {
      // Its tmpfs knows no number of inodes: the memory of the sandbox is what they end at.
      expect(result.outcome).toEqual({ kind: 'out_of_memory' });
      return;
    }
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(verdicts.empty).toBe('ENOSPC');
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
