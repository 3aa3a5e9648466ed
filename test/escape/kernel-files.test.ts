/** What /proc, /sys and the environment let a job change or learn. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { api, attack, expectNothingLeft, otherThan, RUNTIME, requestOf } from './attack.ts';

const read = async (script: string): Promise<string> =>
  (await api.run({ command: ['sh', '-c', script] })).stdout;

describe('changes', () => {
  test('E19 no file of a cgroup is written', async () => {
    const groups = ['', '/memory', '/pids', '/cpu', '/devices', '/freezer'];
    const names =
      'cgroup.procs tasks release_agent notify_on_release memory.max memory.limit_in_bytes pids.max cpu.max cpu.cfs_quota_us devices.allow cgroup.subtree_control';
    const files = groups.flatMap((group) =>
      names.split(' ').map((name) => `/sys/fs/cgroup${group}/${name}`),
    );
    const { verdicts } = await attack('known-files.sh', { args: files });
    expect(Object.keys(verdicts)).toHaveLength(files.length);
    expect(otherThan(verdicts, 'EROFS', 'EACCES', 'ENOENT')).toEqual([]);
    const made = await read('mkdir /sys/fs/cgroup/mine /sys/fs/cgroup/memory/mine && echo made');
    expect(made).toBe('');
  });

  test('E20 no setting of the kernel is written', async () => {
    const names =
      'kernel/core_pattern kernel/modprobe kernel/hostname kernel/ns_last_pid kernel/randomize_va_space vm/drop_caches vm/overcommit_memory net/ipv4/ip_forward net/core/somaxconn fs/file-max fs/binfmt_misc/register user/max_user_namespaces';
    const files = [
      ...names.split(' ').map((name) => `/proc/sys/${name}`),
      '/proc/sysrq-trigger',
      '/proc/irq/default_smp_affinity',
      '/proc/mtrr',
    ];
    const { verdicts } = await attack('known-files.sh', { args: files });
    expect(Object.keys(verdicts)).toHaveLength(files.length);
    expect(otherThan(verdicts, 'EROFS', 'EACCES', 'ENOENT')).toEqual([]);
  });

  test('E21 no trigger is set on the pressure of the machine, and it is not told', async () => {
    const { verdicts } = await attack('pressure-trigger.c');
    expect(verdicts.trigger).not.toBe('OK');
    expect(verdicts.read).not.toBe('OK');
  });
});

describe('leaks', () => {
  test('I01 the environment holds what the contract says and what the caller gave', async () => {
    const { stdout } = await api.run({ command: ['env'], env: { OWN: 'yes' } });
    const variables = stdout.trim().split('\n').sort();
    expect(variables).toEqual([
      'HOME=/work',
      'LANG=C.UTF-8',
      'OWN=yes',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'TMPDIR=/tmp',
    ]);
  });

  test('I03 the names of the machine are not those of the host or the container', async () => {
    const names = await read('uname -n; cat /proc/sys/kernel/domainname /etc/hostname');
    expect(names.replace('(none)\n', '')).toBe('sandbox\nsandbox\n');
    const network = await read('cat /etc/hosts /etc/resolv.conf');
    expect(network).not.toMatch(/[0-9a-f]{12}/);
    expect(network).not.toMatch(/nameserver|search/);
    expect(network.replaceAll(/127\.0\.0\.1|127\.0\.1\.1/g, '')).not.toMatch(/\d+\.\d+\.\d+\.\d+/);
  });

  test('I09 the kernel tells neither its symbols nor its log nor its memory', async () => {
    const files =
      'kallsyms modules kcore config.gz slabinfo timer_list interrupts keys partitions diskstats kpageflags cmdline';
    const sizes = await read(
      `for name in ${files}; do head -c 64 /proc/$name 2> /dev/null; done; dmesg; head -c 9 /dev/kmsg; timeout 2 head -c 9 /proc/kmsg; ls -A /sys/kernel /sys/module /sys/firmware /sys/block; true`,
    );
    const told = sizes.split('\n').filter((line) => line !== '' && !line.endsWith(':'));
    // What gVisor tells is of its own kernel.
    expect(told.filter((line) => !/^BOOT_IMAGE=\/vmlinuz-[\d.]+-gvisor quiet$/.test(line))).toEqual(
      [],
    );
  });

  test('I07 E23 nothing of a neighbour is seen: processes, files, sockets, memory', async () => {
    const neighbour = await api.submit(requestOf('seen-by-neighbours.py', {}));
    await sleep(2500);
    const { verdicts, result } = await attack('look-around.sh');
    const other = await api.get(neighbour.id, 30);
    expect(other.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(Date.parse(other.timing.finishedAt ?? '')).toBeGreaterThan(
      Date.parse(result.timing.finishedAt ?? ''),
    );
    expect(verdicts).toMatchObject({ strangers: '0', unix: '0', shm: '0', tcp: '0', left: '' });
    expect(verdicts.uids).toMatch(/^0 \d+ $/);
  });

  test('I07 no lock of anybody else is seen', async () => {
    const { verdicts } = await attack('look-around.sh');
    expect(verdicts.locks).toBe(RUNTIME === 'runc' ? '0' : ''); // gVisor has no such file
  });
});

expectNothingLeft();
