/** Names of the numbers that the guest reports: it runs on Linux, whatever the worker and the command line run on. */

const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: 'EPERM',
  2: 'ENOENT',
  4: 'EINTR',
  5: 'EIO',
  7: 'E2BIG',
  8: 'ENOEXEC',
  9: 'EBADF',
  11: 'EAGAIN',
  12: 'ENOMEM',
  13: 'EACCES',
  14: 'EFAULT',
  16: 'EBUSY',
  17: 'EEXIST',
  18: 'EXDEV',
  20: 'ENOTDIR',
  21: 'EISDIR',
  22: 'EINVAL',
  23: 'ENFILE',
  24: 'EMFILE',
  26: 'ETXTBSY',
  27: 'EFBIG',
  28: 'ENOSPC',
  30: 'EROFS',
  36: 'ENAMETOOLONG',
  38: 'ENOSYS',
  40: 'ELOOP',
  80: 'ELIBBAD',
  122: 'EDQUOT',
};

const SIGNAL_NAMES = [
  ...['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGKILL'],
  ...['SIGUSR1', 'SIGSEGV', 'SIGUSR2', 'SIGPIPE', 'SIGALRM', 'SIGTERM', 'SIGSTKFLT', 'SIGCHLD'],
  ...['SIGCONT', 'SIGSTOP', 'SIGTSTP', 'SIGTTIN', 'SIGTTOU', 'SIGURG', 'SIGXCPU', 'SIGXFSZ'],
  ...['SIGVTALRM', 'SIGPROF', 'SIGWINCH', 'SIGIO', 'SIGPWR', 'SIGSYS'],
] as const;

const FIRST_REALTIME_SIGNAL = 34;

export const errnoName = (errno: number): string => ERRNO_NAMES[errno] ?? `E${errno}`;

export const signalName = (signal: number): string =>
  SIGNAL_NAMES[signal - 1] ??
  (signal >= FIRST_REALTIME_SIGNAL ? `SIGRTMIN+${signal - FIRST_REALTIME_SIGNAL}` : `SIG${signal}`);

/** The number of a signal by its name; undefined for one that Linux does not have. */
export function signalNumber(name: string): number | undefined {
  const [, realtime] = name.match(/^SIGRTMIN\+(\d+)$/) ?? [];
  if (realtime !== undefined) return FIRST_REALTIME_SIGNAL + Number(realtime);
  const index = (SIGNAL_NAMES as readonly string[]).indexOf(name);
  return index < 0 ? undefined : index + 1;
}
