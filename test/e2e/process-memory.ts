/** Memory of a process, as the kernel tells it. */
import { readFileSync } from 'node:fs';

const KIB = 1024;

export function residentBytes(pid: number): number {
  const [, kilobytes] = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+)/m) ?? [];
  return Number(kilobytes) * KIB;
}

/** The most that it was at any look from now on; `stop` ends the looks and tells. */
export function watchMemory(pid: number): { stop(): number } {
  let most = residentBytes(pid);
  const timer = setInterval(() => {
    most = Math.max(most, residentBytes(pid));
  }, 20);
  return {
    stop() {
      clearInterval(timer);
      return most;
    },
  };
}
