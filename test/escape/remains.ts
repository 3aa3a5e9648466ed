/** What of sandboxes is on the host: looked at through /proc, the cgroups and the engine, apart from the code under test. */
import { readdirSync, readFileSync, statfsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { residentBytes } from '../e2e/process-memory.ts';
import { docker } from '../helpers/docker.ts';

const MIB = 1024 * 1024;
/** Each worker has a block of uids of its own (services/worker/pool/uids.ts). */
const FIRST_UID = 200_000;
const BLOCK_SIZE = 1024;
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

/** The sandboxes of a worker at some moments, and its block of uids: others on this engine are none of ours. */
export interface Ours {
  readonly sandboxes: Set<string>;
  uids?: number;
}

export async function lookAt(ours: Ours, worker: string): Promise<void> {
  const format = '{{.ID}} {{.Label "cofferdam.uid"}}';
  const filter = `label=cofferdam.worker=${worker}`;
  const listed = await docker('ps', '-a', '--no-trunc', '--filter', filter, '--format', format);
  for (const line of listed.split('\n').filter((one) => one !== '')) {
    const [id = '', uid] = line.split(' ');
    ours.sandboxes.add(id);
    ours.uids = Math.floor((Number(uid) - FIRST_UID) / BLOCK_SIZE);
  }
}

/** Waits for the moment at which nothing is left over; says what is when there is none. */
export async function expectRemains(before: Remains, ours: Ours, server: number): Promise<void> {
  expect(ours.sandboxes.size).toBeGreaterThan(0);
  const deadline = Date.now() + GONE_WITHIN_MS;
  let left = await leftovers(ours);
  while (left.length > 0 && Date.now() < deadline) {
    await sleep(POLL_MS);
    left = await leftovers(ours);
  }
  expect(left).toEqual([]);
  const after = await remains(server);
  expect(after.volumes).toBe(before.volumes);
  expect(before.freeBytes - after.freeBytes).toBeLessThan(DISK_TOLERANCE);
  expect(after.serverBytes - before.serverBytes).toBeLessThan(MEMORY_TOLERANCE);
}

/** Engine processes and cgroups of sandboxes of ours that the engine does not know any more, and processes of their jobs. */
async function leftovers(ours: Ours): Promise<string[]> {
  const ofEngine = new Set((await docker('ps', '-aq', '--no-trunc')).split('\n'));
  const isGone = (id: string): boolean => ours.sandboxes.has(id) && !ofEngine.has(id);
  const cgroups = CGROUPS.flatMap(foldersIn).filter(isGone);
  const processes = readdirSync('/proc').flatMap((pid) => strayOf(pid, ours, isGone));
  return [...cgroups.map((id) => `cgroup ${id}`), ...processes];
}

const foldersIn = (folder: string): string[] => {
  try {
    return readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name));
  } catch {
    return [];
  }
};

function strayOf(pid: string, ours: Ours, isGone: (id: string) => boolean): string[] {
  if (!/^\d+$/.test(pid)) return [];
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    const [, shim] = command.match(/^[^\0]*containerd-shim[^\0]*\0.*\0-id\0([0-9a-f]{64})\0/) ?? [];
    if (shim !== undefined) return isGone(shim) ? [`shim ${pid} of ${shim}`] : [];
    const [, uid] = readFileSync(`/proc/${pid}/status`, 'latin1').match(/^Uid:\t(\d+)/m) ?? [];
    // No job runs any more: what still has a uid of ours is one that got away.
    const isOurs = Math.floor((Number(uid) - FIRST_UID) / BLOCK_SIZE) === ours.uids;
    return isOurs ? [`process ${pid} of uid ${uid}`] : [];
  } catch {
    return []; // it ended meanwhile
  }
}
