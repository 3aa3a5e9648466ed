/**
 * What a sandbox is made of, seen from inside it and from its engine, against the list here: walls behind which there is
 * a second one, so that no attack shows when they are gone. `npm run test:walls` takes each away and expects a red row.
 */
import { readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { seccompProfile } from '../../services/worker/sandbox/seccomp.ts';
import type { JobResult } from '../../shared/contract/result.ts';
import { docker } from '../helpers/docker.ts';
import { callerOf } from '../helpers/server.ts';

const api = callerOf(inject('server'));
const MIB = 1024 * 1024;
const FOUND_WITHIN_MS = 20_000;
const RUN_WITHIN_S = 15;

/** Where no sandbox can be made, or its guest does not answer, the job is given up soon. */
async function run(script: string): Promise<JobResult> {
  const { id } = await api.submit({ command: ['sh', '-c', script] });
  const result = await api.get(id, RUN_WITHIN_S);
  if (result.outcome?.kind === 'exited') return result;
  await api.send(`/v1/jobs/${id}`, { method: 'DELETE' });
  throw new Error(`expected a job to run; came ${JSON.stringify(result.outcome)}`);
}

const read = async (script: string): Promise<string> => (await run(script)).stdout;

test('B01 a sandbox is made and runs a job', async () => {
  expect(await read('echo here')).toBe('here\n');
});

describe('inside', () => {
  test('B02 the mounts are these, with these options, and no other', async () => {
    const mounts = new Map<string, string>();
    for (const line of (await read('cat /proc/self/mountinfo')).trim().split('\n')) {
      const [before = '', after = ''] = line.split(' - ');
      const [, , , from = '', at = '', flags = ''] = before.split(' ');
      const [kind = '', , options = ''] = after.split(' ');
      const isMask = /^\/(proc|sys)\//.test(at) && (from === '/null' || kind === 'tmpfs');
      const isCgroup = at.startsWith('/sys/fs/cgroup') && kind.startsWith('cgroup');
      if (isCgroup) expect(flags.split(','), line).toContain('ro');
      else if (isMask && at !== '/sys/fs/cgroup')
        expect(from === '/null' || /^ro,/.test(flags)).toBe(true);
      else
        mounts.set(at, `${kind} ${flags} ${at === '/work' || /shm|tmp/.test(at) ? options : ''}`);
    }
    const uid = Number(await read('id -u'));
    const scratch = `tmpfs rw,nosuid,nodev,noexec,relatime rw,size=${32 * 1024}k,nr_inodes=2048`;
    expect(uid).toBeGreaterThanOrEqual(200_000);
    const work = mounts.get('/work')?.replace(/[ug]id=\d+/g, '') ?? '';
    expect(work).toBe(
      `tmpfs rw,nosuid,nodev,relatime rw,size=${64 * 1024}k,nr_inodes=4096,mode=700,,`,
    );
    expect([mounts.get('/tmp'), mounts.get('/dev/shm')]).toEqual([scratch, scratch]);
    expect(mounts.get('/')).toMatch(/^overlay ro,/);
    for (const at of ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/sys']) {
      expect(mounts.get(at), at).toMatch(/^(proc|sysfs) ro,nosuid,nodev,noexec/);
    }
    const known =
      /^\/($|proc$|dev$|dev\/(pts|mqueue|shm)$|sys$|sys\/fs\/cgroup$|work$|tmp$|etc\/(hostname|hosts|resolv\.conf)$|proc\/(bus|fs|irq|sys|sysrq-trigger)$)/;
    expect([...mounts.keys()].filter((at) => !known.test(at))).toEqual([]);
  });

  test('B03 PID 1 has the three capabilities that it needs, and no process can have more', async () => {
    const status = await read('cat /proc/1/status; grep CapBnd /proc/self/status');
    const expected = /^(\w+):\s*(\S*)/;
    const rows = status.split('\n').map((line) => line.match(expected)?.slice(1) ?? []);
    const values = (name: string): (string | undefined)[] =>
      rows.filter(([key]) => key === name).map(([, value]) => value);
    const three = '00000000000000e0';
    expect(values('CapPrm')).toEqual([three]);
    expect(values('CapBnd')).toEqual([three, three]);
    expect([values('NoNewPrivs'), values('Seccomp')]).toEqual([['1'], ['2']]);
    expect(status).toMatch(/^Groups:\s*0?\s*$/m);
  });

  test('B04 the limits of PID 1, which no job can pass, are these', async () => {
    const text = await read('cat /proc/1/limits');
    const limits = Object.fromEntries(
      [...text.matchAll(/^Max ([a-z ]+?) {2,}(\S+) +(\S+)/gm)].map(([, name, soft, hard]) => [
        name,
        `${soft} ${hard}`,
      ]),
    );
    expect(limits).toMatchObject({
      'core file size': '0 0',
      'open files': '1024 1024',
      'file size': `${64 * MIB} ${64 * MIB}`,
      processes: '512 512',
      'locked memory': '0 0',
      'stack size': `${8 * MIB} ${64 * MIB}`,
      'msgqueue size': '0 0',
      'pending signals': '256 256',
      'realtime priority': '0 0',
      'nice priority': '0 0',
    });
  });

  test('B05 the cgroup bounds memory, swap, processes and cpu, and its score comes before ours', async () => {
    const script = `cd /sys/fs/cgroup
      for file in memory/memory.limit_in_bytes memory.max pids/pids.max pids.max \\
        cpu/cpu.cfs_quota_us cpu.max cpu/cpu.shares cpu.weight; do
        [ ! -e $file ] || echo $file $(cat $file)
      done; echo score $(cat /proc/1/oom_score_adj)`;
    const lines = (await read(script)).trim().split('\n');
    const of = (name: string) =>
      lines
        .find((line) => line.includes(name))
        ?.split(' ')
        .slice(1)
        .join(' ');
    expect(of('score')).toBe('500');
    expect(of('memory')).toBe(String(256 * MIB));
    expect(of('pids')).toBe('80');
    expect(['100000', '100000 100000']).toContain(of('cfs_quota') ?? of('cpu.max'));
    expect(['256', '10']).toContain(of('shares') ?? of('weight'));
  });

  test('B06 what only informs an attacker is covered, path by path', async () => {
    const paths = MASKED.map((path) => path.replace(/^\//, '')).join(' ');
    // By a mount of its own, empty or the null device: the folder beneath may be empty as well.
    const script = `cd /; for path in ${paths}; do
      mounted=$(grep -c " /$path " /proc/self/mountinfo)
      if [ -d $path ]; then echo /$path $mounted folder $(ls -A $path | wc -l)
      elif [ -e $path ]; then echo /$path $mounted $(stat -c %t:%T $path); fi
    done`;
    const lines = (await read(script)).trim().split('\n');
    expect(lines.length).toBeGreaterThan(8);
    expect(lines.filter((line) => !/ 1 (folder 0|1:3)$/.test(line))).toEqual([]);
  });

  test('B13 its namespaces are not those of the host', async () => {
    const kinds = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'];
    const script = kinds.map((kind) => `readlink /proc/self/ns/${kind}`).join('; ');
    const inside = (await read(script)).trim().split('\n');
    expect(inside).toHaveLength(kinds.length);
    const shared = kinds.filter((kind) => inside.includes(readlinkSync(`/proc/self/ns/${kind}`)));
    expect(shared).toEqual([]);
  });

  test('B07 the tree of cgroups begins at the sandbox', async () => {
    const groups = (await read('cat /proc/self/cgroup')).trim().split('\n');
    expect(groups.filter((line) => !line.endsWith(':/'))).toEqual([]);
  });
});

const MASKED =
  `/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/locks
  /proc/pressure /proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats /proc/kallsyms /proc/modules
  /proc/config.gz /proc/slabinfo /proc/pagetypeinfo /proc/kpagecount /proc/kpageflags /proc/kpagecgroup
  /proc/diskstats /proc/partitions /proc/cmdline /sys/devices/virtual/powercap /sys/devices/virtual/dmi
  /sys/firmware /sys/kernel /sys/module /sys/block /sys/fs/bpf`
    .trim()
    .split(/\s+/);

interface Inspected {
  readonly Config: Record<string, unknown> & { Labels: Record<string, string> };
  readonly HostConfig: Record<string, unknown>;
  readonly Mounts: readonly { Type: string }[];
  readonly LogPath: string;
  readonly State: { Health?: unknown };
}

/** A running sandbox of this server's worker, as its engine describes it. */
async function inspectOne(): Promise<Inspected> {
  const { worker } = await run('true');
  const job = await api.submit({ command: ['sleep', '20'] });
  const filters = ['--filter', `label=cofferdam.worker=${worker}`, '--filter', 'status=running'];
  const deadline = Date.now() + FOUND_WITHIN_MS;
  try {
    while (Date.now() < deadline) {
      const [id = ''] = (await docker('ps', '-q', ...filters)).split('\n');
      const text = id === '' ? '' : await docker('inspect', id).catch(() => '');
      if (text !== '') return (JSON.parse(text) as [Inspected])[0];
      await sleep(100);
    }
    throw new Error(`no sandbox has the label of the worker ${worker}`);
  } finally {
    await api.send(`/v1/jobs/${job.id}`, { method: 'DELETE' });
  }
}

/** An engine says null, or leaves out, where nothing was asked. */
const NOTHING = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === '' ||
  value === false ||
  value === 0 ||
  (typeof value === 'object' && Object.keys(value as object).length === 0);

describe('to its engine', () => {
  let seen: Inspected;
  beforeAll(async () => {
    seen = await inspectOne();
  });

  test('B08 a sandbox shares nothing and is given nothing', () => {
    const { HostConfig: host, Config: config } = seen;
    const asked = [
      'Privileged PublishAllPorts PidMode UTSMode UsernsMode Binds Mounts VolumesFrom Links Devices',
      'DeviceRequests DeviceCgroupRules GroupAdd ExtraHosts Dns DnsOptions DnsSearch Sysctls PortBindings',
      'MemoryReservation OomKillDisable AutoRemove Init',
    ]
      .join(' ')
      .split(' ')
      .filter((name) => !NOTHING(host[name]));
    expect(asked).toEqual([]);
    expect(host).toMatchObject({
      Runtime: 'runc',
      NetworkMode: 'none',
      IpcMode: 'none',
      CgroupnsMode: 'private',
      CgroupParent: expect.stringMatching(/^\/?cofferdam/),
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      CapAdd: ['SETUID', 'SETGID', 'KILL'],
      LogConfig: { Type: 'none' },
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      MemorySwap: host.Memory,
    });
    expect(seen.Mounts.filter(({ Type }) => Type !== 'tmpfs')).toEqual([]);
    expect([seen.LogPath, config.Volumes ?? {}]).toEqual(['', {}]);
    expect([host.MaskedPaths, host.ReadonlyPaths]).toEqual([
      MASKED,
      ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    ]);
  });

  test('B09 a sandbox starts the guest as root by number, with no environment, network or health check', () => {
    const { Config: config, State: state } = seen;
    expect(config).toMatchObject({
      User: '0:0',
      WorkingDir: '/',
      Hostname: 'sandbox',
      Domainname: '',
      Entrypoint: ['/.cofferdam/guest'],
      Cmd: [expect.stringMatching(/^\d+$/), expect.stringMatching(/^\d+$/)],
      NetworkDisabled: true,
      Healthcheck: { Test: ['NONE'] },
      StopSignal: 'SIGKILL',
      StopTimeout: 0,
      Tty: false,
      OpenStdin: true,
      StdinOnce: true,
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    });
    expect(state.Health).toBeUndefined();
    const names = ((config.Env ?? []) as string[]).map((one) => one.split('=')[0] ?? '');
    expect(names.filter((name) => !/^(PATH|LANG|PYTHON_\w+|NODE_VERSION)$/.test(name))).toEqual([]);
  });

  test('B11 a sandbox has the profile of system calls that is written down, and no other', () => {
    const options = seen.HostConfig.SecurityOpt as string[];
    expect(options.filter((one) => !one.startsWith('apparmor='))).toEqual([
      'no-new-privileges:true',
      `seccomp=${seccompProfile(process.arch)}`,
    ]);
  });

  test('B12 its writable places are asked for with a size, a count of inodes, a mode and their flags', () => {
    const places = seen.HostConfig.Tmpfs as Record<string, string>;
    const scratch = `rw,noexec,nosuid,nodev,size=${32 * MIB},nr_inodes=2048,mode=1777`;
    const work = (places['/work'] ?? '').replace(/[ug]id=\d+/g, '');
    expect({ ...places, '/work': work }).toEqual({
      '/work': `rw,exec,nosuid,nodev,size=${64 * MIB},nr_inodes=4096,mode=0700,,`,
      '/tmp': scratch,
      '/dev/shm': scratch,
    });
  });

  test('B10 a sandbox is labelled with whose it is and when it must be gone', () => {
    const names = ['worker', 'installation', 'nonce', 'uid', 'deadline'];
    const labels = names.map((name) => seen.Config.Labels[`cofferdam.${name}`] ?? '');
    expect(labels.filter((text) => !/\w/.test(text))).toEqual([]);
    expect(Number(seen.Config.Labels['cofferdam.deadline'])).toBeGreaterThan(Date.now());
  });
});
