/**
 * The wall, in one place: the body with which the engine makes a sandbox, from nothing but an order. Each field names
 * the attack that it shuts; a list that the API would fill with a default is sent whole, since `[]` would unmask it.
 */
import { traitsOf } from './runtimes.ts';
import type { Order, Shape } from './sandbox.ts';

const MIB = 1024 * 1024;

export const LABEL = {
  worker: 'cofferdam.worker',
  installation: 'cofferdam.installation',
  nonce: 'cofferdam.nonce',
  uid: 'cofferdam.uid',
  deadline: 'cofferdam.deadline',
} as const;

export const GUEST_PATH = '/.cofferdam/guest';

/** What the engine and the machine decide of a body. */
export interface EngineFacts {
  /** `/cofferdam`, or `cofferdam.slice` under the systemd driver. */
  readonly cgroupParent: string;
  readonly seccomp: string;
  readonly hasAppArmor: boolean;
  /** The engine refuses a quota of more; a job that may use more gets all there are. */
  readonly cores: number;
  /** The operator's ceiling of openFiles: the guest may lower it for a job, never raise it. */
  readonly maxOpenFiles: number;
  /** The operator's ceiling of processes, for the same reason. */
  readonly maxProcesses: number;
}

/** Each of /tmp and /dev/shm has half the size of /work, and at most this part of the memory, which pays for them. */
const SCRATCH_PART = 8;
/** A file of the smallest size still takes a page. */
const BYTES_PER_INODE = 16_384;
const MIN_INODES = 1024;

const ulimit = (name: string, soft: number, hard = soft) => ({
  Name: name,
  Soft: soft,
  Hard: hard,
});

const tmpfs = (options: { bytes: number; flags: string; mode: string; owner?: number }): string => {
  const inodes = Math.max(MIN_INODES, Math.floor(options.bytes / BYTES_PER_INODE));
  const owner = options.owner === undefined ? '' : `,uid=${options.owner},gid=${options.owner}`;
  // nr_inodes: a million empty files would fill the kernel's memory instead of the file system.
  return `rw,${options.flags},nosuid,nodev,size=${options.bytes},nr_inodes=${inodes},mode=${options.mode}${owner}`;
};

const scratchBytesOf = ({ memoryMb, workspaceMb }: Shape): number =>
  Math.floor(MIB * Math.min(memoryMb / SCRATCH_PART, workspaceMb / 2));

/** The limits that the cgroup holds: those which can be changed while a sandbox runs. */
export const changeableLimits = (shape: Shape, { cores }: Pick<EngineFacts, 'cores'>) => ({
  Memory: shape.memoryMb * MIB,
  MemorySwap: shape.memoryMb * MIB, // equal: no swap
  NanoCpus: Math.round(Math.min(shape.cpus, cores) * 1e9),
  PidsLimit: traitsOf(shape.runtime).pidsLimitOf(shape.processes),
});

/** Whether two shapes differ in changeable limits alone: mounts and rlimits stay as they were made. */
export const canBecome = (from: Shape, to: Shape, facts: Pick<EngineFacts, 'maxProcesses'>) =>
  from.image === to.image &&
  from.runtime === to.runtime &&
  traitsOf(from.runtime).canChangeLimits &&
  from.workspaceMb === to.workspaceMb &&
  scratchBytesOf(from) === scratchBytesOf(to) &&
  to.processes <= facts.maxProcesses;

/* The engine's own list (newest line), which a list sent by the API replaces, and what else only informs an attacker. */
const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/locks',
  '/proc/pressure',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/kallsyms',
  '/proc/modules',
  '/proc/config.gz',
  '/proc/slabinfo',
  '/proc/pagetypeinfo',
  '/proc/kpagecount',
  '/proc/kpageflags',
  '/proc/kpagecgroup',
  '/proc/diskstats',
  '/proc/partitions',
  '/proc/cmdline',
  '/sys/devices/virtual/powercap',
  '/sys/devices/virtual/dmi',
  '/sys/firmware',
  '/sys/kernel',
  '/sys/module',
  '/sys/block',
  '/sys/fs/bpf',
];

const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export function createBody(
  order: Order,
  from: {
    image: string;
    worker: string;
    installation: string;
    idleSeconds: number;
    facts: EngineFacts;
  },
) {
  const { shape, uid } = order;
  const workspaceBytes = shape.workspaceMb * MIB;
  const scratchBytes = scratchBytesOf(shape);
  const { facts } = from;

  return {
    Image: from.image, // made and checked by us, by its own tag: never a caller's text
    Entrypoint: [GUEST_PATH], // the image's own entry point is a program of somebody else
    Cmd: [String(uid), String(from.idleSeconds)],
    User: '0:0', // numeric: the image's passwd file decides nothing
    WorkingDir: '/', // a crafted working folder was a way out of the runtime (CVE-2024-21626)
    Hostname: 'sandbox', // the default is the container's id
    Domainname: '',
    Env: [], // a job's environment travels in its frames, where `inspect` does not show it
    Tty: false,
    OpenStdin: true,
    StdinOnce: true, // a dead worker closes the guest's stdin, and the guest ends
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    NetworkDisabled: true,
    Healthcheck: { Test: ['NONE'] }, // an image's health check would execute inside
    StopSignal: 'SIGKILL',
    StopTimeout: 0,
    Volumes: {},
    Labels: {
      [LABEL.worker]: from.worker,
      [LABEL.installation]: from.installation,
      [LABEL.nonce]: order.nonce,
      [LABEL.uid]: String(uid),
      [LABEL.deadline]: String(order.deadlineMs),
    },
    HostConfig: {
      Runtime: shape.runtime, // explicit: never the daemon's default
      Privileged: false,
      PublishAllPorts: false,
      NetworkMode: 'none', // a namespace with its own loopback and nothing else
      IpcMode: 'none', // no shared memory but the sized tmpfs below
      PidMode: '', // '' is private
      UTSMode: '',
      UsernsMode: '', // the daemon's remapping, where it has one
      CgroupnsMode: 'private', // on cgroup v1 the default shows the host's tree
      CgroupParent: facts.cgroupParent, // one place that bounds the sum of all jobs
      ReadonlyRootfs: true, // also makes the engine's /etc/hosts and the like read-only
      CapDrop: ['ALL'],
      CapAdd: ['SETUID', 'SETGID', 'KILL'], // for PID 1: become the job's uid, end what runs as it
      SecurityOpt: [
        'no-new-privileges:true', // setuid files and file capabilities do nothing
        `seccomp=${facts.seccomp}`,
        ...(facts.hasAppArmor ? ['apparmor=docker-default'] : []),
      ],
      Binds: [], // no path of the host, ever
      Mounts: [],
      VolumesFrom: [],
      Links: [],
      Devices: [],
      DeviceRequests: [],
      DeviceCgroupRules: [],
      GroupAdd: [],
      ExtraHosts: [],
      Dns: [],
      DnsOptions: [],
      DnsSearch: [],
      Sysctls: {},
      PortBindings: {},
      Tmpfs: {
        // mode 0700 and the job's uid: not even PID 1, which has no DAC_OVERRIDE, enters as root
        '/work': tmpfs({ bytes: workspaceBytes, flags: 'exec', mode: '0700', owner: uid }),
        '/tmp': tmpfs({ bytes: scratchBytes, flags: 'noexec', mode: '1777' }),
        '/dev/shm': tmpfs({ bytes: scratchBytes, flags: 'noexec', mode: '1777' }),
      },
      ...changeableLimits(shape, facts),
      MemoryReservation: 0,
      OomKillDisable: false, // on v1, true would freeze instead of kill
      OomScoreAdj: 500, // before the engine and the worker; the job raises itself to 1000
      CpuShares: 256, // beside the worker and the engine, jobs come last
      Ulimits: [
        ulimit('core', 0), // no core file; a helper behind a piped core_pattern is for the host to refuse
        ulimit('nofile', facts.maxOpenFiles),
        ulimit('fsize', workspaceBytes),
        // per uid, and each sandbox has its own; the guest lowers it to the job's
        ulimit('nproc', Math.max(shape.processes, facts.maxProcesses)),
        ulimit('memlock', 0),
        ulimit('stack', 8 * MIB, 64 * MIB),
        ulimit('msgqueue', 0),
        ulimit('sigpending', 256), // bounds POSIX timers too
        ulimit('rtprio', 0),
        ulimit('nice', 0),
      ],
      LogConfig: { Type: 'none', Config: {} }, // the default writes output to the host's disk without a cap
      AutoRemove: false, // removal is ours, and confirmed
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      Init: false, // the guest is the init
      MaskedPaths: MASKED_PATHS,
      ReadonlyPaths: READONLY_PATHS,
    },
  };
}

export type CreateBody = ReturnType<typeof createBody>;
