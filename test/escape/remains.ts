/** What of sandboxes is on the host: looked at through /proc, the cgroups and the engine, apart from the code under test. */
import { readdirSync, readFileSync, statfsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { residentBytes } from '../e2e/process-memory.ts';
import { docker } from '../helpers/docker.ts';

const MIB = 1024 * 1024;
/** Uids of jobs, of all workers (services/worker/pool/uids.ts). */
const FIRST_UID = 200_000;
const LAST_UID = FIRST_UID + 4096 * 1024;
/** Of this machine others make use as well: what they leave for a moment is waited out. */
const GONE_WITHIN_MS = 20_000;
const POLL_MS = 250;
/** What others write and hold meanwhile; an attack that got through its limit would take more. */
const DISK_TOLERANCE = 1024 * MIB;
const MEMORY_TOLERANCE = 192 * MIB;
const CGROUPS = ['/sys/fs/cgroup/pids/cofferdam', '/sys/fs/cgroup/cofferdam'];

export interface Remains {
  readonly volumes: number;
  readonly freeBytes: number;
  readonly serverBytes: number;
}

export async function remains(server: number): Promise<Remains> {
  const { bavail, bsize } = statfsSync('/');
  const volumes = (await docker('volume', 'ls', '-q')).split('\n').filter((name) => name !== '');
  return {
    volumes: volumes.length,
    freeBytes: bavail * bsize,
    serverBytes: residentBytes(server),
  };
}

/** Waits for the moment at which nothing is left over; says what is when there is none. */
export async function expectRemains(before: Remains | undefined, server: number): Promise<void> {
  if (before === undefined) throw new Error('nobody looked before');
  const deadline = Date.now() + GONE_WITHIN_MS;
  let left = await leftovers();
  // What was left at two looks is left: a sandbox that others just make or remove is between two states.
  for (let again = left; again.length > 0 && Date.now() < deadline; ) {
    await sleep(POLL_MS);
    again = await leftovers();
    left = left.filter((one) => again.includes(one));
    if (left.length === 0) break;
  }
  expect(left).toEqual([]);
  const after = await remains(server);
  expect(after.volumes).toBe(before.volumes);
  expect(before.freeBytes - after.freeBytes).toBeLessThan(DISK_TOLERANCE);
  expect(after.serverBytes - before.serverBytes).toBeLessThan(MEMORY_TOLERANCE);
}

/** Engine processes and cgroups of sandboxes that the engine does not know, and processes of jobs outside of any. */
async function leftovers(): Promise<string[]> {
  const ofEngine = new Set((await docker('ps', '-aq', '--no-trunc')).split('\n'));
  const cgroups = CGROUPS.flatMap(foldersIn).filter((id) => !ofEngine.has(id));
  const processes = readdirSync('/proc').flatMap((pid) => strayOf(pid, ofEngine));
  return [...cgroups.map((id) => `cgroup ${id}`), ...processes];
}

const foldersIn = (folder: string): string[] => {
  try {
    return readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name));
  } catch {
    return [];
  }
};

function strayOf(pid: string, ofEngine: ReadonlySet<string>): string[] {
  if (!/^\d+$/.test(pid)) return [];
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    const [, shim] = command.match(/^[^\0]*containerd-shim[^\0]*\0.*\0-id\0([0-9a-f]{64})\0/) ?? [];
    if (shim !== undefined) return ofEngine.has(shim) ? [] : [`shim ${pid} of ${shim}`];
    const [, uid] = readFileSync(`/proc/${pid}/status`, 'latin1').match(/^Uid:\t(\d+)/m) ?? [];
    if (Number(uid) < FIRST_UID || Number(uid) >= LAST_UID) return [];
    const [, sandbox] = readFileSync(`/proc/${pid}/cgroup`, 'latin1').match(/([0-9a-f]{64})/) ?? [];
    return sandbox !== undefined && ofEngine.has(sandbox) ? [] : [`process ${pid} of uid ${uid}`];
  } catch {
    return []; // it ended meanwhile
  }
}
