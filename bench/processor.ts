/** Processor time of processes, as the kernel counts it. */
import { readFileSync } from 'node:fs';

/** The unit of times in /proc: the same on every Linux of today. */
const TICK_MS = 10;

/** The fields after the name, which may hold spaces itself. */
const statOf = (pid: number): string[] =>
  readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];

export const parentOf = (pid: number): number => Number(statOf(pid)[1]);

/** What a process and its threads have used so far. */
export function processorMs(pid: number): number {
  const stat = statOf(pid);
  return (Number(stat[11]) + Number(stat[12])) * TICK_MS;
}
