/**
 * What is particular to each runtime. gVisor (runsc) has a kernel of its own, a process of the host that all of the
 * sandbox lives in: it counts processes in its own way, knows no other limits than it was made with, and its end is the
 * end of everything in it.
 */
import { RUNTIMES, type Runtime } from '../../../shared/runtimes.ts';

/** What a program in a sandbox sees, and the release of the kernel of the engine's machine. */
export interface Sighting {
  /** As `guest kernel` prints it: release, version, mode of seccomp. */
  readonly seen: string;
  readonly engines: string;
}

interface Traits {
  readonly isKernel: (seen: string, engines: string) => boolean;
  /** The limit of the cgroup for so many processes of a job. */
  readonly pidsLimitOf: (processes: number) => number;
  /** Whether limits can be changed while a sandbox runs. */
  readonly canChangeLimits: boolean;
  /** Whether a guest can show that nothing of a job is left: gVisor counts neither inodes nor sockets. */
  readonly canReset: boolean;
}

/** Room beside the job's own processes: the runtime's threads before it becomes the guest, and the guest. */
const RUNC_EXTRA_PIDS = 16;
/** gVisor's own threads; and what each process costs in processes and threads of the host, under ptrace (about nine). */
const RUNSC_EXTRA_PIDS = 64;
const RUNSC_PIDS_PER_PROCESS = 10;

const releaseOf = (seen: string): string | undefined => seen.split(' ')[0];

/** What gVisor's kernel calls itself: lately by its name, before that by one version for all of its releases. */
const GVISOR = /gvisor|#1 SMP Sun Jan 10 15:06:54 PST 2016/i;

const TRAITS: Readonly<Record<Runtime, Traits>> = {
  runc: {
    isKernel: (seen, engines) => releaseOf(seen) === engines,
    pidsLimitOf: (processes) => processes + RUNC_EXTRA_PIDS, // the job's own number is its uid's RLIMIT_NPROC
    canChangeLimits: true,
    canReset: true,
  },
  runsc: {
    isKernel: (seen, engines) => releaseOf(seen) !== engines && GVISOR.test(seen),
    // It enforces no RLIMIT_NPROC: this bound is the job's only one, and to pass it is the sandbox's end.
    pidsLimitOf: (processes) => RUNSC_EXTRA_PIDS + processes * RUNSC_PIDS_PER_PROCESS,
    canChangeLimits: false,
    canReset: false,
  },
};

/** Whether it is the runtime, and whether our list of system calls is in force: gVisor has use for it only when told so. */
export const isProvenBy = (runtime: Runtime, { seen, engines }: Sighting): boolean =>
  TRAITS[runtime].isKernel(seen, engines) && seen.endsWith(' seccomp 2');

export const traitsOf = (runtime: Runtime): Traits => TRAITS[runtime];

export const isRuntime = (name: string): name is Runtime =>
  (RUNTIMES as readonly string[]).includes(name);
