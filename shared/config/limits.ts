/**
 * Every limit a caller may set: its meaning, the default and the ceiling that an operator starts from, and the range
 * that either may take. A limit without a default follows from others (see policy/resolve.ts).
 */

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;

export interface Limit {
  readonly meaning: string;
  readonly fallback: number | undefined;
  readonly ceiling: number;
  readonly least: number;
  readonly most: number;
  readonly fractional?: true;
}

export const LIMITS = {
  timeoutMs: {
    meaning: 'wall-clock time of all steps, in milliseconds.',
    fallback: 10_000,
    ceiling: 600_000,
    least: 1,
    most: 24 * HOUR_MS,
  },
  cpuMs: {
    meaning: 'processor time of all processes, in milliseconds; by default timeoutMs times cpus.',
    fallback: undefined,
    ceiling: 1_200_000,
    least: 1,
    most: 24 * HOUR_MS,
  },
  cpus: { meaning: 'cores.', fallback: 1, ceiling: 2, least: 0.01, most: 1024, fractional: true },
  memoryMb: {
    meaning: 'memory of processes and files together, in MiB.',
    fallback: 256,
    ceiling: 2048,
    least: 16,
    most: 1_048_576,
  },
  processes: {
    meaning: 'processes and threads at once.',
    fallback: 64,
    ceiling: 512,
    least: 1,
    most: 32_768,
  },
  workspaceMb: {
    meaning: 'size of /work, in MiB.',
    fallback: 64,
    ceiling: 1024,
    least: 1,
    most: 1_048_576,
  },
  openFiles: {
    meaning: 'open descriptors of one process.',
    fallback: 256,
    ceiling: 1024,
    least: 16,
    most: 1_048_576,
  },
  stdoutBytes: {
    meaning: 'bytes of standard output kept; times the number of steps it stays below the ceiling.',
    fallback: MIB,
    ceiling: 8 * MIB,
    least: 1,
    most: 64 * MIB,
  },
  stderrBytes: {
    meaning: 'bytes of standard error kept; times the number of steps it stays below the ceiling.',
    fallback: MIB,
    ceiling: 8 * MIB,
    least: 1,
    most: 64 * MIB,
  },
  artifactBytes: {
    meaning: 'bytes of all artifacts together.',
    fallback: 8 * MIB,
    ceiling: 64 * MIB,
    least: 1,
    most: 256 * MIB,
  },
  expiresInMs: {
    meaning: 'how long a job may wait for its start, in milliseconds.',
    fallback: 24 * HOUR_MS,
    ceiling: 7 * 24 * HOUR_MS,
    least: 1,
    most: 30 * 24 * HOUR_MS,
  },
  retainMs: {
    meaning: 'how long a result is kept, in milliseconds.',
    fallback: 24 * HOUR_MS,
    ceiling: 7 * 24 * HOUR_MS,
    least: 1,
    most: 30 * 24 * HOUR_MS,
  },
} as const satisfies Record<string, Limit>;

/** Files are charged to the memory: a small sandbox gets a small workspace, unless one is asked for. */
export const defaultWorkspaceMb = (memoryMb: number, fallback: number | undefined): number =>
  Math.min(fallback ?? memoryMb, Math.floor(memoryMb / 2));

export type LimitName = keyof typeof LIMITS;

/** timeoutMs → COFFERDAM_MAX_TIMEOUT_MS */
export const limitVariable = (
  kind: 'DEFAULT' | 'MAX',
  name: LimitName,
): `COFFERDAM_${'DEFAULT' | 'MAX'}_${string}` =>
  `COFFERDAM_${kind}_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
