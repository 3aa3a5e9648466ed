/**
 * What is particular to each runtime. gVisor (runsc) has a kernel of its own, a process of the host that all of the
 * sandbox lives in: it counts processes in its own way, knows no other limits than it was made with, and its end is the
 * end of everything in it.
 */
import { type Runtime, RUNTIMES } from '../../../shared/runtimes.ts';

/** The kernel as a program in the sandbox sees it, and the one of the engine's machine. */
export interface Kernels {
  readonly seen: string;
  readonly engines: string;
}

interface Traits {
  /** Whether what a program sees of its kernel proves the runtime. */
  readonly isProvenBy: (kernels: Kernels) => boolean;
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

const TRAITS: Readonly<Record<Runtime, Traits>> = {
  runc: {
    isProvenBy: ({ seen, engines }) => seen.split(' ')[0] === engines,
    pidsLimitOf: (processes) => processes + RUNC_EXTRA_PIDS, // the job's own number is its uid's RLIMIT_NPROC
    canChangeLimits: true,
    canReset: true,
  },
  runsc: {
    isProvenBy: ({ seen, engines }) => seen.split(' ')[0] !== engines && seen.includes('gVisor'),
    // It enforces no RLIMIT_NPROC: this bound is the job's only one, and to pass it is the sandbox's end.
    pidsLimitOf: (processes) => RUNSC_EXTRA_PIDS + processes * RUNSC_PIDS_PER_PROCESS,
    canChangeLimits: false,
    canReset: false,
  },
};

export const traitsOf = (runtime: Runtime): Traits => TRAITS[runtime];

export const isRuntime = (name: string): name is Runtime =>
  (RUNTIMES as readonly string[]).includes(name);
