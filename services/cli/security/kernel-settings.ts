/** Settings of the kernel beneath all sandboxes: what each should be, why, and how it is made so. */
import { type Finding, ok, warning } from '../finding.ts';

interface KernelSetting {
  readonly name: string;
  readonly isGood: (value: string) => boolean;
  readonly want: string;
  readonly why: string;
}

const atLeast =
  (least: number) =>
  (value: string): boolean =>
    Number(value) >= least;
const is = (wanted: string) => (value: string) => value === wanted;

/* The profile of system calls refuses most of what these close: they hold where a sandbox's profile does not. */
const SETTINGS: readonly KernelSetting[] = [
  {
    name: 'kernel.io_uring_disabled',
    isGood: is('2'),
    want: '2',
    why: 'io_uring has been the way of many exploits',
  },
  {
    name: 'kernel.unprivileged_bpf_disabled',
    isGood: atLeast(1),
    want: '2',
    why: 'nobody but root loads programs into the kernel',
  },
  {
    name: 'kernel.kptr_restrict',
    isGood: atLeast(1),
    want: '2',
    why: 'addresses of the kernel stay hidden',
  },
  {
    name: 'kernel.dmesg_restrict',
    isGood: is('1'),
    want: '1',
    why: 'the log of the kernel is root’s',
  },
  {
    name: 'kernel.perf_event_paranoid',
    isGood: atLeast(2),
    want: '3',
    why: 'events of the processor are a side channel',
  },
  {
    name: 'kernel.yama.ptrace_scope',
    isGood: atLeast(1),
    want: '2',
    why: 'no process reads the memory of another',
  },
  {
    name: 'vm.unprivileged_userfaultfd',
    isGood: is('0'),
    want: '0',
    why: 'userfaultfd makes races in the kernel easy to win',
  },
  {
    name: 'net.core.bpf_jit_harden',
    isGood: atLeast(1),
    want: '2',
    why: 'filters of sockets cannot smuggle code into the kernel',
  },
  {
    name: 'kernel.core_pattern',
    isGood: (value) => !value.startsWith('|'),
    want: 'core',
    why: 'a pipe starts a helper as root, outside of every limit, for each crash of a job',
  },
];

/** `read` gives the text of a file, or undefined where there is none: a kernel without the thing has no hole in it. */
export function kernelFindings(read: (file: string) => string | undefined): Finding[] {
  return SETTINGS.flatMap(({ name, isGood, want, why }) => {
    const value = read(`/proc/sys/${name.replaceAll('.', '/')}`)?.trim();
    if (value === undefined) return [];
    return isGood(value)
      ? [ok(name, value)]
      : [warning(name, `${value}: ${why}`, `sysctl -w ${name}=${want}, and in /etc/sysctl.d`)];
  });
}

/** With swap a job's memory reaches the disk, and its limit is none for a neighbour that waits for pages. */
export function swapFinding(read: (file: string) => string | undefined): Finding {
  const [, ...lines] = (read('/proc/swaps') ?? '').trim().split('\n');
  return lines.length === 0
    ? ok('swap', 'none')
    : warning('swap', `${lines.length} in use`, 'swapoff -a, and take it out of /etc/fstab');
}
