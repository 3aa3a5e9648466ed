/**
 * The system calls that a sandbox may make: an allow-list, everything else fails with EPERM. It starts from what the
 * engine allows by default and leaves out what jobs have no use for and attackers have (the comments say what and why).
 *
 * Only the machine's own architecture is listed: a 32-bit entry ends the process. That is what makes the filter on
 * `socket` hold, since 32-bit `socketcall` hides its arguments behind a pointer that a filter cannot read.
 *
 * Traps: the runtime treats repeated conditions on one argument as separate OR rules, so there is one rule per value;
 * and it drops a rule whose action equals the default, so a deliberate deny needs another errno (ENOSYS below).
 */
import type { Runtime } from '../../../shared/runtimes.ts';

interface Rule {
  readonly names: readonly string[];
  readonly action: 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO';
  readonly errnoRet?: number;
  readonly args?: readonly {
    readonly index: number;
    readonly value: number;
    readonly valueTwo?: number;
    readonly op: 'SCMP_CMP_EQ' | 'SCMP_CMP_MASKED_EQ';
  }[];
}

const ENOSYS = 38;

const words = (text: string): string[] => text.trim().split(/\s+/);

/* Left out of the engine's default list, each a way out, a side channel or surface without use in a job:
   io_uring_* (opens sockets behind the filter), ptrace process_vm_* process_madvise kcmp pidfd_getfd (other processes),
   name_to_handle_at open_by_handle_at (reach files beside the root), memfd_secret userfaultfd vmsplice
   remap_file_pages modify_ldt (kernel exploit history), fanotify_* landlock_* seccomp (no use), mincore cachestat
   (page-cache side channel), sync syncfs (host-wide flush that is nobody's bill), adjtimex clock_adjtime (clocks),
   mbind set_mempolicy (NUMA), mount chroot unshare setns bpf perf_event_open keyctl syslog reboot and the like. */
const ALLOWED = words(`
  accept accept4 access alarm arch_prctl bind brk capget capset chdir chmod chown clock_getres clock_gettime
  clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
  epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
  fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fdatasync fgetxattr flistxattr flock fork fremovexattr
  fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat getcpu getcwd
  getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority
  getrandom getresgid getresuid getrlimit get_robust_list getrusage getsid getsockname getsockopt gettid gettimeofday
  getuid getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl io_cancel io_destroy io_getevents
  io_pgetevents io_setup io_submit ioprio_get ioprio_set kill lchown lgetxattr link linkat listen listxattr llistxattr
  lremovexattr lseek lsetxattr lstat madvise map_shadow_stack membarrier memfd_create mkdir mkdirat mknod mknodat mlock
  mlock2 mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal
  msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep newfstatat open openat openat2 pause pidfd_open
  pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll pread64 preadv preadv2 prlimit64
  process_mrelease pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg
  removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
  rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_getaffinity sched_getattr
  sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
  sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield select semctl semget semop semtimedop
  sendfile sendmmsg sendmsg sendto setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid
  setresuid setreuid setrlimit set_robust_list setsid setsockopt set_tid_address setuid setxattr shmat shmctl shmdt
  shmget shutdown sigaltstack signalfd signalfd4 splice stat statfs statx symlink symlinkat sync_file_range
  sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
  timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat uretprobe utime utimensat utimes
  vfork wait4 waitid write writev
`);

/** Every CLONE_NEW* flag: with none of them set, clone makes processes and threads and no namespaces. */
const NAMESPACE_FLAGS = 0x7e020000;

/* Sockets of these families alone. AF_ALG reaches page-cache bugs shared by every container of an image; AF_VSOCK has
   no namespace; AF_PACKET and the exotic families are surface. INET is the sandbox's own loopback and nothing else. */
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;
/* The protocols of AF_INET that programs use; the rarer ones (UDP-Lite, MPTCP, SCTP, …) are surface. */
const INET_PROTOCOLS = { any: 0, tcp: 6, udp: 17 } as const;

const PERSONALITY_QUERY = 0xffffffff;

/* fcntl by command, since leases and directory notices work across sandboxes on the files of a shared image:
   F_DUPFD..F_SETLKW, F_SETOWN..F_GETOWN_EX, F_OFD_*, F_DUPFD_CLOEXEC, F_GETPIPE_SZ, seals, write hints. Not F_SETPIPE_SZ: pipes are
   counted to who made them, here the guest, and so to one uid for all sandboxes. */
const FCNTL_COMMANDS = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 17, 36, 37, 38, 1027, 1030, 1032, 1033, 1034, 1035,
  1036, 1037, 1038,
] as const;

/* prctl by option, for the same reason and because one of them installs filters. Left out: PR_SET_SECCOMP, the memory-map
   editor (PR_SET_MM), memory merging (a side channel between sandboxes), core scheduling. */
const PRCTL_OPTIONS = [
  1, 2, 3, 4, 7, 8, 15, 16, 21, 23, 24, 25, 26, 27, 29, 30, 36, 37, 38, 39, 40, 41, 42, 47, 52, 53,
  65, 66, 0x53564d41, 0x59616d61,
] as const;

const allow = (names: readonly string[], ...args: NonNullable<Rule['args']>): Rule => ({
  names,
  action: 'SCMP_ACT_ALLOW',
  ...(args.length > 0 ? { args } : {}),
});

const equals = (index: number, value: number) => ({ index, value, op: 'SCMP_CMP_EQ' }) as const;

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
};

/** The profile as JSON, for an engine on this architecture (Node's name of it). */
export function seccompProfile(architecture: string, runtime: Runtime = 'runc'): string {
  const name = ARCHITECTURES[architecture];
  if (name === undefined) {
    throw new Error(`There is no seccomp profile for ${architecture}; x64 and arm64 have one.`);
  }
  const rules: Rule[] = [
    allow(ALLOWED),
    allow(['clone'], { index: 0, value: NAMESPACE_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }),
    /* clone3's flags are in memory, where no filter sees them; on ENOSYS the C library uses clone. */
    runtime === 'runsc'
      ? allow(['clone3']) // gVisor takes no other errno than EPERM from a profile; what it clones, it contains
      : { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
    {
      names: ['io_uring_setup', 'io_uring_enter', 'io_uring_register'],
      action: 'SCMP_ACT_ERRNO',
      errnoRet: ENOSYS,
    },
    allow(['socket'], equals(0, AF_UNIX)),
    ...[AF_INET, AF_INET6].flatMap((family) =>
      Object.values(INET_PROTOCOLS).map((protocol) =>
        allow(['socket'], equals(0, family), equals(2, protocol)),
      ),
    ),
    allow(['socket'], equals(0, AF_NETLINK), equals(2, NETLINK_ROUTE)),
    allow(['socketpair'], equals(0, AF_UNIX)),
    allow(['personality'], equals(0, 0)),
    allow(['personality'], equals(0, PERSONALITY_QUERY)),
    ...PRCTL_OPTIONS.map((option) => allow(['prctl'], equals(0, option))),
    ...FCNTL_COMMANDS.map((command) => allow(['fcntl'], equals(1, command))),
  ];
  return JSON.stringify({
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: [name],
    syscalls: rules,
  });
}
