import { describe, expect, it } from 'vitest';
import { seccompProfile } from '../../../services/worker/sandbox/seccomp.ts';

interface Rule {
  names: string[];
  action: string;
  errnoRet?: number;
  args?: { index: number; value: number; valueTwo?: number; op: string }[];
}
interface Profile {
  defaultAction: string;
  architectures: string[];
  syscalls: Rule[];
}
const profile = JSON.parse(seccompProfile('x64')) as Profile;
const allowed = profile.syscalls.filter(({ action }) => action === 'SCMP_ACT_ALLOW');
const always = new Set(allowed.filter(({ args }) => !args).flatMap(({ names }) => names));
const argsOf = (name: string) =>
  allowed.filter(({ names }) => names.includes(name)).map(({ args = [] }) => args);

const words = (text: string): string[] => text.trim().split(/\s+/);

/** None of these may be made, with whatever arguments. */
const NEVER = words(`
  io_uring_setup io_uring_enter io_uring_register clone3 unshare setns ptrace process_vm_readv process_vm_writev
  process_madvise kcmp pidfd_getfd bpf perf_event_open userfaultfd keyctl add_key request_key lookup_dcookie syslog
  kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct quotactl quotactl_fd
  iopl ioperm mount umount umount2 pivot_root fsopen fsmount fsconfig fspick move_mount open_tree mount_setattr chroot
  name_to_handle_at open_by_handle_at modify_ldt remap_file_pages vmsplice memfd_secret fanotify_init fanotify_mark
  seccomp statmount listmount cachestat mincore sync syncfs adjtimex clock_adjtime clock_settime settimeofday mbind
  set_mempolicy set_mempolicy_home_node move_pages migrate_pages socketcall vhangup nfsservctl uselib sysfs _sysctl
  ustat sethostname setdomainname landlock_create_ruleset landlock_add_rule landlock_restrict_self
`);

/** Programs that people run need these. */
const NEEDED = words(`
  read write openat openat2 execve execveat fork vfork futex mmap mprotect brk rseq epoll_wait flock memfd_create splice
  sendfile wait4 pipe2 getrandom statx close_range uretprobe map_shadow_stack setresuid setresgid setgroups kill
  sched_yield clock_nanosleep inotify_add_watch connect bind listen
`);

describe('the system calls of a sandbox', () => {
  it('are refused unless they are listed', () => {
    expect(profile.defaultAction).toBe('SCMP_ACT_ERRNO');
    const actions = new Set(profile.syscalls.map(({ action }) => action));
    expect(actions).toEqual(new Set(['SCMP_ACT_ALLOW', 'SCMP_ACT_ERRNO']));
  });

  it('are those of one architecture, the machine’s own', () => {
    expect(profile.architectures).toEqual(['SCMP_ARCH_X86_64']);
    const arm = JSON.parse(seccompProfile('arm64')) as Profile;
    expect(arm.architectures).toEqual(['SCMP_ARCH_AARCH64']);
    for (const unknown of ['ia32', 'riscv64', 'x86_64', '']) {
      expect(() => seccompProfile(unknown)).toThrow(/no seccomp profile/);
    }
  });

  it.each(NEVER)('do not include %s', (name) => {
    expect(argsOf(name)).toEqual([]);
  });

  it.each(NEEDED)('include %s', (name) => {
    expect(always.has(name)).toBe(true);
  });

  it('are each listed once where they have no condition', () => {
    const names = allowed.filter(({ args }) => !args).flatMap(({ names: list }) => list);
    expect(names.length).toBe(new Set(names).size);
    for (const { names: list, args } of allowed) {
      if (args) for (const name of list) expect(always.has(name)).toBe(false);
    }
  });

  it('have at most one condition for each argument in a rule, since the runtime takes more for OR', () => {
    for (const { args = [] } of profile.syscalls) {
      expect(new Set(args.map(({ index }) => index)).size).toBe(args.length);
    }
  });
});

describe('a process', () => {
  const CLONE_NEW = {
    TIME: 0x80,
    CGROUP: 0x2000000,
    UTS: 0x4000000,
    IPC: 0x8000000,
    USER: 0x10000000,
    PID: 0x20000000,
    NET: 0x40000000,
    NS: 0x20000,
  };

  it.each(Object.entries(CLONE_NEW).filter(([name]) => name !== 'TIME'))(
    'cannot be cloned into a new %s namespace',
    (_, flag) => {
      const rules = argsOf('clone');
      expect(rules).toHaveLength(1);
      const [condition] = rules[0] ?? [];
      expect(condition).toMatchObject({ index: 0, op: 'SCMP_CMP_MASKED_EQ', valueTwo: 0 });
      expect(((condition?.value ?? 0) & flag) >>> 0).toBe(flag);
    },
  );

  it('can be cloned with what threads and forks need', () => {
    const [condition] = argsOf('clone')[0] ?? [];
    const thread =
      0x100 |
      0x200 |
      0x400 |
      0x800 |
      0x10000 |
      0x40000 |
      0x80000 |
      0x100000 |
      0x200000 |
      0x1000000 |
      17;
    expect((condition?.value ?? 0) & thread).toBe(0);
  });

  it.each(['clone3', 'io_uring_setup', 'io_uring_enter', 'io_uring_register'])(
    'that tries %s is told that there is no such call, so that libraries fall back',
    (name) => {
      const rules = profile.syscalls.filter(({ names }) => names.includes(name));
      expect(rules).toMatchObject([{ action: 'SCMP_ACT_ERRNO', errnoRet: 38 }]);
    },
  );
});

describe('a socket', () => {
  it('is of a family that stays inside', () => {
    for (const name of ['socket', 'socketpair']) {
      const families = argsOf(name).map((args) => args.find(({ index }) => index === 0));
      const values = new Set(families.map((arg) => arg?.value));
      expect(values).toEqual(new Set(name === 'socket' ? [1, 2, 10, 16] : [1]));
      expect(families.every((arg) => arg?.op === 'SCMP_CMP_EQ')).toBe(true);
    }
  });

  it('to the kernel speaks of routes alone', () => {
    const netlink = argsOf('socket').find((args) => args[0]?.value === 16);
    expect(netlink).toContainEqual({ index: 2, value: 0, op: 'SCMP_CMP_EQ' });
  });
});

describe('the rest that is allowed under a condition', () => {
  it('is to ask for the personality, and to keep the usual one', () => {
    const values = argsOf('personality').map((args) => args[0]);
    expect(values).toEqual([
      { index: 0, value: 0, op: 'SCMP_CMP_EQ' },
      { index: 0, value: 0xffffffff, op: 'SCMP_CMP_EQ' },
    ]);
  });

  it('is no fcntl that reaches another sandbox through a shared file', () => {
    const commands = argsOf('fcntl').map((args) => args[0]);
    expect(commands.every((arg) => arg?.index === 1 && arg.op === 'SCMP_CMP_EQ')).toBe(true);
    const values = commands.map((arg) => arg?.value);
    const [F_SETLEASE, F_GETLEASE, F_NOTIFY] = [1024, 1025, 1026];
    for (const bad of [F_SETLEASE, F_GETLEASE, F_NOTIFY]) expect(values).not.toContain(bad);
    for (const good of [0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030]) expect(values).toContain(good);
  });

  it('is no prctl that installs filters, edits the memory map or merges memory', () => {
    const options = argsOf('prctl').map((args) => args[0]);
    expect(options.every((arg) => arg?.index === 0 && arg.op === 'SCMP_CMP_EQ')).toBe(true);
    const values = options.map((arg) => arg?.value);
    const [PR_SET_SECCOMP, PR_SET_MM, PR_SCHED_CORE, PR_SET_MEMORY_MERGE] = [22, 35, 62, 67];
    for (const bad of [PR_SET_SECCOMP, PR_SET_MM, PR_SCHED_CORE, PR_SET_MEMORY_MERGE]) {
      expect(values).not.toContain(bad);
    }
    const [PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_NO_NEW_PRIVS] = [1, 15, 38];
    for (const good of [PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_NO_NEW_PRIVS]) {
      expect(values).toContain(good);
    }
  });
});
