import { describe, expect, it } from 'vitest';
import {
  canBecome,
  changeableLimits,
  createBody,
  type EngineFacts,
  LABEL,
} from '../../../services/worker/sandbox/create-body.ts';
import type { Order } from '../../../services/worker/sandbox/sandbox.ts';
import { seccompProfile } from '../../../services/worker/sandbox/seccomp.ts';

const MIB = 1024 * 1024;
const order: Order = {
  shape: {
    image: 'base',
    runtime: 'runc',
    memoryMb: 256,
    cpus: 0.5,
    processes: 64,
    workspaceMb: 64,
  },
  uid: 212_345,
  nonce: 'abcdef',
  deadlineMs: 1_700_000_000_000,
};
const facts: EngineFacts = {
  cgroupParent: '/cofferdam',
  seccomp: seccompProfile('x64'),
  hasAppArmor: false,
  cores: 4,
  maxOpenFiles: 1024,
  maxProcesses: 512,
};
const from = {
  image: 'cofferdam/base:0123',
  worker: 'w1',
  installation: 'here',
  idleSeconds: 660,
  facts,
};
const body = createBody(order, from);
const host = body.HostConfig;

/** Every string anywhere in a value. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, one]) => [key, ...textsOf(one)]);
}

describe('the body that makes a sandbox', () => {
  it.each<[string, unknown, unknown]>([
    ['is not privileged', host.Privileged, false],
    ['names its runtime', host.Runtime, 'runc'],
    ['has no network', host.NetworkMode, 'none'],
    ['has no network device', body.NetworkDisabled, true],
    ['publishes no port', [host.PublishAllPorts, host.PortBindings], [false, {}]],
    ['shares no memory', host.IpcMode, 'none'],
    ['has processes of its own', host.PidMode, ''],
    [
      'has a host name of its own',
      [host.UTSMode, body.Hostname, body.Domainname],
      ['', 'sandbox', ''],
    ],
    ['keeps the remapping of users that the daemon has', host.UsernsMode, ''],
    ['does not see the cgroups of the host', host.CgroupnsMode, 'private'],
    ['is bounded together with all others', host.CgroupParent, '/cofferdam'],
    ['cannot write to its root', host.ReadonlyRootfs, true],
    ['drops every capability', host.CapDrop, ['ALL']],
    ['keeps three for PID 1', host.CapAdd, ['SETUID', 'SETGID', 'KILL']],
    ['has no device', [host.Devices, host.DeviceRequests, host.DeviceCgroupRules], [[], [], []]],
    [
      'has no mount of the host',
      [host.Binds, host.Mounts, host.VolumesFrom, body.Volumes],
      [[], [], [], {}],
    ],
    ['has no link to another', [host.Links, host.ExtraHosts, host.GroupAdd], [[], [], []]],
    ['asks no name server', [host.Dns, host.DnsOptions, host.DnsSearch], [[], [], []]],
    ['sets nothing of the kernel', host.Sysctls, {}],
    ['has so much memory', host.Memory, 256 * MIB],
    ['has no swap', host.MemorySwap, 256 * MIB],
    ['is killed rather than frozen when out of memory', host.OomKillDisable, false],
    ['is killed before the worker', host.OomScoreAdj, 500],
    ['has so much of a core', host.NanoCpus, 500_000_000],
    ['writes no log on the host', host.LogConfig, { Type: 'none', Config: {} }],
    [
      'is removed by us alone',
      [host.AutoRemove, host.RestartPolicy],
      [false, { Name: 'no', MaximumRetryCount: 0 }],
    ],
    ['has the guest for its init', [host.Init, body.Entrypoint], [false, ['/.cofferdam/guest']]],
    ['tells the guest the uid of the job and how long it may idle', body.Cmd, ['212345', '660']],
    ['starts as root by number, whatever the image says', body.User, '0:0'],
    ['starts in no folder of the image', body.WorkingDir, '/'],
    ['has no environment that inspect could show', body.Env, []],
    ['runs no health check of the image', body.Healthcheck, { Test: ['NONE'] }],
    ['has no terminal', body.Tty, false],
    [
      'ends with the stream of its worker',
      [body.OpenStdin, body.StdinOnce, body.AttachStdin],
      [true, true, true],
    ],
    ['is stopped by SIGKILL', [body.StopSignal, body.StopTimeout], ['SIGKILL', 0]],
  ])('%s', (_, came, expected) => {
    expect(came).toEqual(expected);
  });

  it('allows no new privileges, and carries its seccomp profile whole', () => {
    expect(host.SecurityOpt).toEqual(['no-new-privileges:true', `seccomp=${facts.seccomp}`]);
    const withAppArmor = createBody(order, { ...from, facts: { ...facts, hasAppArmor: true } });
    expect(withAppArmor.HostConfig.SecurityOpt).toContain('apparmor=docker-default');
  });

  it('has writable places of a size, with inodes counted, and nowhere devices or setuid files', () => {
    expect(Object.keys(host.Tmpfs)).toEqual(['/work', '/tmp', '/dev/shm']);
    for (const options of Object.values(host.Tmpfs).map((text) => text.split(','))) {
      for (const flag of ['nosuid', 'nodev']) expect(options).toContain(flag);
      expect(options.some((option) => /^size=[1-9]\d*$/.test(option))).toBe(true);
      expect(options.some((option) => /^nr_inodes=[1-9]\d*$/.test(option))).toBe(true);
    }
    const work = host.Tmpfs['/work'].split(',');
    for (const option of ['exec', 'mode=0700', 'uid=212345', 'gid=212345', `size=${64 * MIB}`]) {
      expect(work).toContain(option);
    }
    for (const place of ['/tmp', '/dev/shm'] as const) {
      expect(host.Tmpfs[place].split(',')).toEqual(expect.arrayContaining(['noexec', 'mode=1777']));
    }
  });

  it('bounds processes twice: all of the sandbox, and those of the job', () => {
    expect(host.PidsLimit).toBeGreaterThan(64);
    expect(host.PidsLimit).toBeLessThanOrEqual(64 + 32);
    const ulimits = Object.fromEntries(
      host.Ulimits.map(({ Name, Soft, Hard }) => [Name, [Soft, Hard]]),
    );
    expect(ulimits).toMatchObject({
      // the most that any job may have: the guest lowers it to what this one may
      nproc: [512, 512],
      core: [0, 0],
      memlock: [0, 0],
      msgqueue: [0, 0],
      rtprio: [0, 0],
      nice: [0, 0],
      nofile: [1024, 1024],
      fsize: [64 * MIB, 64 * MIB],
      sigpending: [256, 256],
    });
    expect(ulimits.stack?.[1]).toBeLessThanOrEqual(64 * MIB);
  });

  it('masks what the engine masks by default, and keeps read-only what it keeps so', () => {
    for (const path of [
      '/proc/acpi',
      '/proc/asound',
      '/proc/interrupts',
      '/proc/kcore',
      '/proc/keys',
      '/proc/latency_stats',
      '/proc/sched_debug',
      '/proc/scsi',
      '/proc/timer_list',
      '/proc/timer_stats',
      '/sys/devices/virtual/powercap',
      '/sys/firmware',
      '/sys/fs/bpf',
      '/proc/kallsyms',
      '/proc/modules',
    ]) {
      expect(host.MaskedPaths).toContain(path);
    }
    expect(host.ReadonlyPaths).toEqual([
      '/proc/bus',
      '/proc/fs',
      '/proc/irq',
      '/proc/sys',
      '/proc/sysrq-trigger',
    ]);
  });

  it('says in its labels whose it is and when it must be gone', () => {
    expect(body.Labels).toEqual({
      [LABEL.worker]: 'w1',
      [LABEL.installation]: 'here',
      [LABEL.nonce]: 'abcdef',
      [LABEL.uid]: '212345',
      [LABEL.deadline]: '1700000000000',
    });
  });

  it('names no path of the host anywhere', () => {
    const inside = /^\/(proc|sys|work|tmp|dev\/shm|\.cofferdam|cofferdam)(\/|$)|^\/$/;
    const { SecurityOpt: _, ...rest } = host;
    const paths = textsOf({ ...body, HostConfig: rest }).filter((text) => text.startsWith('/'));
    expect(paths.filter((path) => !inside.test(path))).toEqual([]);
    expect(textsOf(body).join('\n')).not.toMatch(/docker\.sock|\/var\/|\/home|\/etc|\/root/);
  });

  it('follows from its order alone', () => {
    expect(createBody(structuredClone(order), structuredClone(from))).toEqual(body);
    const other = createBody({ ...order, uid: 200_001, nonce: 'other' }, from);
    expect(other.Cmd).toEqual(['200001', '660']);
    expect(other.HostConfig.Tmpfs['/work']).toContain('uid=200001,gid=200001');
    expect(JSON.stringify(other)).not.toContain('212345');
  });

  it('leaves room in its memory beside a full workspace and full scratch places', () => {
    const sizes = Object.values(host.Tmpfs).map((text) => Number(text.match(/size=(\d+)/)?.[1]));
    expect(sizes.reduce((sum, one) => sum + one, 0)).toBeLessThan(host.Memory);
  });

  it('of the smallest and the largest shape has no limit that is none', () => {
    for (const [memoryMb, cpus] of [
      [16, 0.01],
      [1_048_576, 1024],
    ] as const) {
      const shape = { ...order.shape, memoryMb, cpus, workspaceMb: memoryMb / 2 };
      const { HostConfig } = createBody({ ...order, shape }, from);
      for (const limit of [HostConfig.Memory, HostConfig.NanoCpus, HostConfig.PidsLimit]) {
        expect(limit).toBeGreaterThan(0);
        expect(Number.isSafeInteger(limit)).toBe(true);
      }
    }
  });
});

describe('a sandbox made for other limits', () => {
  const { shape } = order;

  it.each<[string, object, boolean]>([
    ['more memory, where no scratch place would be larger', { memoryMb: 512 }, true],
    ['less memory, where each scratch place would be smaller', { memoryMb: 128 }, false],
    ['another part of a core', { cpus: 2 }, true],
    ['more processes, as far as any job may have', { processes: 512 }, true],
    ['more processes than any job may have', { processes: 513 }, false],
    ['another workspace', { workspaceMb: 32 }, false],
    ['another image', { image: 'python' }, false],
    ['another runtime', { runtime: 'runsc' }, false],
  ])('can or cannot serve a job that wants %s', (_, over, can) => {
    expect(canBecome(shape, { ...shape, ...over }, facts)).toBe(can);
  });

  it('is, once changed, what it would be if it had been made so', () => {
    const wanted = { ...shape, memoryMb: 1024, cpus: 2, processes: 100 };
    const made = createBody({ ...order, shape: wanted }, from).HostConfig;
    expect({ ...host, ...changeableLimits(wanted, facts) }).toEqual(made);
  });
});
