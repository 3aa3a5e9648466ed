/** What processes hold of this machine, as the kernel counts it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const KIB = 1024;
const MIB = 1024 * 1024;
const PEAK_RESET = '5';

const field = (text: string, name: string): number =>
  Number(text.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))?.[1]) * KIB;

const status = (pid: number): string => readFileSync(`/proc/${pid}/status`, 'utf8');

/** Resident memory now, in MiB. */
export const residentMb = (pid: number): number => field(status(pid), 'VmRSS') / MIB;

/** The most that was resident since the start or the last `forgetPeak`, in MiB. */
export const peakMb = (pid: number): number => field(status(pid), 'VmHWM') / MIB;

export const forgetPeak = (pid: number): void =>
  writeFileSync(`/proc/${pid}/clear_refs`, PEAK_RESET);

/** A process's own part of the memory: pages that several share are divided among them. In MiB. */
export const proportionalMb = (pid: number): number =>
  field(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'), 'Pss') / MIB;

/** What the machine could still give, in MiB. */
export const availableMb = (): number =>
  field(readFileSync('/proc/meminfo', 'utf8'), 'MemAvailable') / MIB;

/** Processes of that name. */
export function pidsOf(name: string): number[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  return pids.filter((pid) => nameOf(pid) === name);
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return ''; // it has ended meanwhile
  }
}

/** Open descriptors of a process. */
export const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
