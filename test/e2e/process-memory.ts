/** Memory of a process, as the kernel tells it. */
import { readFileSync } from 'node:fs';

const KIB = 1024;

export function residentBytes(pid: number): number {
  const [, kilobytes] = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+)/m) ?? [];
  return Number(kilobytes) * KIB;
}

/** The most that it was at any look from now on; `stop` ends the looks and tells. */
export function watchMemory(pid: number): { first: number; stop(): number } {
  const first = residentBytes(pid);
  let most = first;
  const timer = setInterval(() => {
    most = Math.max(most, residentBytes(pid));
  }, 20);
  return {
    first,
    stop() {
      clearInterval(timer);
      return most;
    },
  };
}
