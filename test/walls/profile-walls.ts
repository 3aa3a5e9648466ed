/** What the profile of system calls keeps shut, group by group, and the row that must turn red where one is let through. */
import type { CreateBody } from '../../services/worker/sandbox/create-body.ts';
import { ordered, type Row, type Wall } from './walls.ts';

interface Rule {
  names: string[];
  action: string;
  args?: { index: number; value: number }[];
}
interface Profile {
  defaultAction: string;
  architectures: string[];
  syscalls: Rule[];
}

const MARK = 'seccomp=';
const row = (file: string, id: string): Row => ({ file: `test/escape/${file}.test.ts`, id });
/** Calls that a process without capabilities is refused all the same: nothing shows but the profile. */
const WRITTEN = ordered('B11');

const profiled = (name: string, is: Row, change: (profile: Profile) => void): Wall => ({
  flag: `seccomp: ${name}`,
  row: is,
  breach(body: CreateBody) {
    body.HostConfig.SecurityOpt = body.HostConfig.SecurityOpt.map((option) => {
      if (!option.startsWith(MARK)) return option;
      const profile = JSON.parse(option.slice(MARK.length)) as Profile;
      change(profile);
      return MARK + JSON.stringify(profile);
    });
  },
});

/** Let through, whatever their arguments. */
const open = (name: string, calls: string, is: Row): Wall =>
  profiled(name, is, (profile) => {
    const names = calls.split(' ');
    const others = profile.syscalls.filter(
      (rule) => !rule.names.some((one) => names.includes(one)),
    );
    profile.syscalls = [...others, { names, action: 'SCMP_ACT_ALLOW' }];
  });

export const PROFILE_WALLS: readonly Wall[] = [
  {
    flag: 'HostConfig.SecurityOpt.seccomp',
    row: row('system-calls', 'E02'),
    breach(body) {
      const options = body.HostConfig.SecurityOpt;
      body.HostConfig.SecurityOpt = options.filter((one) => !one.startsWith(MARK));
    },
  },
  {
    flag: 'HostConfig.SecurityOpt.no-new-privileges',
    row: ordered('B03'),
    breach(body) {
      const options = body.HostConfig.SecurityOpt;
      body.HostConfig.SecurityOpt = options.filter((one) => !one.startsWith('no-new-privileges'));
    },
  },
  profiled('what is not listed', row('system-calls', 'E02'), (profile) => {
    profile.defaultAction = 'SCMP_ACT_ALLOW';
  }),
  profiled('other architectures', row('system-calls', 'E03'), (profile) => {
    profile.architectures.push('SCMP_ARCH_X86', 'SCMP_ARCH_X32');
  }),
  profiled('a call that jobs need', row('system-calls', 'E02'), (profile) => {
    for (const rule of profile.syscalls) rule.names = rule.names.filter((one) => one !== 'flock');
    profile.syscalls = profile.syscalls.filter(({ names }) => names.length > 0);
  }),
  open('io_uring', 'io_uring_setup io_uring_enter io_uring_register', row('system-calls', 'E04')),
  open('clone3', 'clone3', row('privilege', 'E08')),
  open('clone into namespaces', 'clone', row('privilege', 'E08')),
  open('unshare', 'unshare', row('privilege', 'E08')),
  open('setns', 'setns', WRITTEN),
  open(
    'other processes',
    'ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd',
    row('pid-one', 'P08'),
  ),
  open('handles of files', 'name_to_handle_at open_by_handle_at', row('privilege', 'F10')),
  open('page cache', 'mincore cachestat', row('privilege', 'E05')),
  open('flushing the machine', 'sync syncfs', row('privilege', 'E05')),
  open('placing memory', 'mbind set_mempolicy move_pages migrate_pages', row('privilege', 'E05')),
  open('keys', 'add_key request_key keyctl', row('privilege', 'E05')),
  open(
    'memory tricks',
    'vmsplice remap_file_pages memfd_secret modify_ldt',
    row('privilege', 'E05'),
  ),
  // Where the kernel's own setting refuses it to all but root, only the profile shows.
  open('userfaultfd', 'userfaultfd', WRITTEN),
  open('filters of its own', 'seccomp landlock_create_ruleset', row('system-calls', 'E02')),
  open('bpf and events', 'bpf perf_event_open', row('privilege', 'E05')),
  open(
    'mounts',
    'mount umount2 pivot_root chroot fsopen fsmount fsconfig fspick move_mount open_tree mount_setattr',
    row('system-calls', 'E02'),
  ),
  open('clocks', 'settimeofday clock_settime adjtimex clock_adjtime', row('system-calls', 'E02')),
  open(
    'steering the machine',
    'reboot kexec_load init_module finit_module delete_module swapon swapoff acct iopl ioperm syslog',
    WRITTEN,
  ),
  open('families of sockets', 'socket', row('network', 'E12')),
  profiled('protocols of the internet', row('network', 'E12'), (profile) => {
    for (const { names, args = [] } of profile.syscalls) {
      const isInternet = args[0]?.value === 2 || args[0]?.value === 10;
      if (names.includes('socket') && isInternet) args.splice(1);
    }
  }),
  profiled('other netlink', row('network', 'E15'), (profile) => {
    for (const { names, args = [] } of profile.syscalls) {
      if (names.includes('socket') && args[0]?.value === 16) args.splice(1);
    }
  }),
  open('pairs of sockets', 'socketpair', row('network', 'E12')),
  open('personality', 'personality', row('system-calls', 'E11')),
  open('prctl', 'prctl', row('system-calls', 'E02')),
  open('fcntl', 'fcntl', row('privilege', 'E05')),
];
