/**
 * What is there before and after: containers, volumes, cgroups, shims, mounts and network namespaces of the engine;
 * descriptors and resident memory of our processes; keys of Redis. What an engine holds counts as left behind when it
 * is in the name of a container of which the engine itself knows nothing any more: so others may use it meanwhile.
 */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Redis } from 'ioredis';
import { descriptorsOf, pidsOf, residentMb } from '../../../bench/memory.ts';
import { besideOurKeys } from '../../../shared/queue/connection.ts';
import type { Member } from './member.ts';

const QUIET_WITHIN_MS = 60_000;
const LOOK_AGAIN_MS = 1_000;
const ENGINE_WITHIN_MS = 30_000;
/** Connections that clients keep alive after their last call: up to two for each client. */
const DESCRIPTORS_MORE = 24;
/** Heaps that find their size; a leak of a fault shows in a soak. */
const MEGABYTES_MORE = 150;

/** Sets that must be empty once no job is open, whatever was there before. */
const EMPTY_WHEN_QUIET = ['running', 'open', 'unqueued', 'tenants:running', 'tenants:open'];

/** Where an engine is, and where it keeps what it holds. */
export interface EngineAt {
  /** As COFFERDAM_ENGINE and DOCKER_HOST say it. */
  readonly socket: string;
  readonly root: string;
  readonly run: string;
  /** The parent of its sandboxes' control groups, beneath each hierarchy. */
  readonly groups: string;
  /** Of its daemon, which may have a table of mounts of its own. */
  pid(): number;
}

const MACHINES_OWN: EngineAt = {
  socket: 'unix:///var/run/docker.sock',
  root: '/var/lib/docker',
  run: '/var/run/docker',
  groups: 'cofferdam',
  pid: () => Number(readFileSync('/var/run/docker.pid', 'utf8')),
};

export interface CensusOf {
  /** What the sandboxes of this world are labelled with, as Docker's filter has it. */
  readonly label: string;
  readonly redis: Redis;
  readonly members: readonly Member[];
  /** Of an engine of one's own. */
  readonly engine?: EngineAt;
}

export interface Census {
  readonly containers: readonly string[];
  readonly volumes: readonly string[];
  /** In the name of containers that are gone: `cgroup …`, `shim …`, `mount …`, `netns …`. */
  readonly orphans: readonly string[];
  readonly processes: Readonly<Record<string, { descriptors: number; megabytes: number }>>;
  /** Keys without a time to live, by name with ids left out. */
  readonly keys: Readonly<Record<string, number>>;
}

export async function takeCensus(of: CensusOf): Promise<Census> {
  const docker = dockerOf(of);
  const [containers, volumes, orphans, keys] = await Promise.all([
    docker('ps', '-aq', '--no-trunc', '--filter', `label=${of.label}`, ...LISTED),
    docker('volume', 'ls', '-q'),
    orphansOf(of),
    lastingKeys(of.redis),
  ]);
  const processes = Object.fromEntries(
    of.members
      .filter(({ isUp }) => isUp)
      .map(({ role, pid }) => [
        `${role} ${pid}`,
        { descriptors: descriptorsOf(pid), megabytes: Math.round(residentMb(pid)) },
      ]),
  );
  return { containers, volumes, orphans, processes, keys };
}

export interface CensusLimits {
  /** Sandboxes that the workers which are up keep ready, at most. */
  readonly stock: number;
  readonly withinMs?: number;
  /** Orphans that the engine itself forgot when it died, out of the reach of any of its clients. */
  readonly isEngines?: (orphan: string) => boolean;
}

/**
 * Looks until nothing is left that was not there before, and fails when something still is.
 */
export async function expectNothingLeaked(
  of: CensusOf,
  before: Census,
  { stock, withinMs = QUIET_WITHIN_MS, isEngines = () => false }: CensusLimits,
): Promise<Census> {
  const deadline = Date.now() + withinMs;
  let earlier: ReadonlySet<string> | undefined;
  for (;;) {
    const after = await takeCensus(of);
    // What another removes while we look is an orphan for that moment: only one that stays is left behind.
    const lasting = after.orphans.filter((one) => earlier?.has(one) ?? true);
    earlier = new Set(after.orphans);
    const ours = { ...after, orphans: lasting.filter((one) => !isEngines(one)) };
    const left = leftIn(before, ours, stock);
    if (left.length === 0) return after;
    if (Date.now() >= deadline) throw new Error(`left behind:\n  ${left.join('\n  ')}`);
    await sleep(LOOK_AGAIN_MS);
  }
}

/** What is there that was not, a line each. Pure. */
export function leftIn(before: Census, after: Census, stock: number): string[] {
  const left: string[] = [];
  if (after.containers.length > stock) {
    left.push(`${after.containers.length} sandboxes, expected at most ${stock}`);
  }
  for (const name of ['volumes', 'orphans'] as const) {
    const known = new Set(before[name]);
    left.push(...after[name].filter((one) => !known.has(one)).map((one) => `${name}: ${one}`));
  }
  for (const [name, { descriptors, megabytes }] of Object.entries(after.processes)) {
    const was = before.processes[name];
    if (was === undefined) continue;
    if (descriptors > was.descriptors + DESCRIPTORS_MORE) {
      left.push(`${name}: ${descriptors} descriptors, before ${was.descriptors}`);
    }
    if (megabytes > was.megabytes + MEGABYTES_MORE) {
      left.push(`${name}: ${megabytes} MiB, before ${was.megabytes}`);
    }
  }
  for (const [name, count] of Object.entries(after.keys)) {
    const mayBe = EMPTY_WHEN_QUIET.includes(name) ? 0 : (before.keys[name] ?? 0);
    // A key without an id in its name is one for all: it may come, it cannot become many.
    const isOneForAll = !name.includes('*') && !EMPTY_WHEN_QUIET.includes(name);
    if (count > mayBe && !isOneForAll) left.push(`${count} keys ${name}, before ${mayBe}`);
  }
  return left;
}

/** Not `removing`: an engine may list a container so for ever that is gone. */
const LISTED = ['created', 'running', 'paused', 'exited', 'dead'].flatMap((state) => [
  '--filter',
  `status=${state}`,
]);

const dockerOf =
  ({ engine }: Pick<CensusOf, 'engine'>) =>
  async (...args: string[]): Promise<string[]> => {
    const env = engine === undefined ? process.env : { ...process.env, DOCKER_HOST: engine.socket };
    const { stdout } = await promisify(execFile)('docker', args, {
      env,
      timeout: ENGINE_WITHIN_MS,
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout.split('\n').filter((line) => line !== '');
  };

const CGROUPS = '/sys/fs/cgroup';
const CONTAINER_ID = /[0-9a-f]{64}/;

/** First what there is, then who is known: what came between the two looks is known. */
async function orphansOf(of: CensusOf): Promise<string[]> {
  const { run, root, groups, pid } = of.engine ?? MACHINES_OWN;
  const docker = dockerOf(of);
  const parents = ['.', ...entriesOf(CGROUPS)].map((one) => `${CGROUPS}/${one}/${groups}`);
  const held = [
    ...parents.flatMap((parent) =>
      entriesOf(parent).flatMap((name) =>
        idIn(name).map((id) => ({ id, what: `cgroup of ${livingIn(`${parent}/${name}`)}` })),
      ),
    ),
    ...shims(run).map((id) => ({ id, what: 'shim' })),
  ];
  const mounts = mountsUnder(`${root}/overlay2/`, pid());
  const netns = entriesOf(`${run}/netns`).filter((name) => name !== 'default');
  const known = new Set(await docker('ps', '-aq', '--no-trunc'));
  const details = await detailsOf(docker, [...known]);
  return [
    ...new Set(held.filter(({ id }) => !known.has(id)).map(({ what, id }) => `${what} ${id}`)),
    ...mounts.filter((one) => !details.has(one)).map((one) => `mount ${one}`),
    ...netns.filter((one) => !details.has(`${run}/netns/${one}`)).map((one) => `netns ${one}`),
  ].sort();
}

const idIn = (text: string): string[] => text.match(CONTAINER_ID)?.slice(0, 1) ?? [];

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // there is none
  }
}

function livingIn(group: string): string {
  try {
    const pids = readFileSync(`${group}/cgroup.procs`, 'utf8').split('\n').filter(Boolean);
    return pids.length === 0 ? 'no process' : `${pids.length} processes`;
  } catch {
    return 'no process'; // it is gone
  }
}

function shims(run: string): string[] {
  // The kernel keeps fifteen characters of a name.
  return pidsOf('containerd-shim').flatMap((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      return line.includes(`${run}/`) ? idIn(line) : [];
    } catch {
      return [];
    }
  });
}

const mountsUnder = (folder: string, pid: number): string[] =>
  readFileSync(`/proc/${pid}/mounts`, 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((place) => place.startsWith(folder) && place.endsWith('/merged'));

/** Where the containers that are known have their root and their network. */
async function detailsOf(
  docker: (...args: string[]) => Promise<string[]>,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  const format = '{{.GraphDriver.Data.MergedDir}} {{.NetworkSettings.SandboxKey}}';
  // One that went meanwhile must not hide the others.
  const lines = await Promise.all(
    ids.map((id) => docker('inspect', '--format', format, id).catch(() => [])),
  );
  return new Set(lines.flat().flatMap((line) => line.split(' ')));
}

const ID =
  /job_[0-9a-f]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}|\b[\w.-]+-[0-9a-f]{8}\b/g;

async function lastingKeys(redis: Redis): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let cursor = '0', isFirst = true; isFirst || cursor !== '0'; isFirst = false) {
    const scanned = await besideOurKeys(redis, (behind) =>
      behind.scan(cursor, 'MATCH', '{cofferdam}:*', 'COUNT', 1_000),
    );
    const [next, names] = scanned as [string, string[]];
    cursor = next;
    const pipeline = redis.pipeline();
    for (const name of names) pipeline.pttl(name);
    const lives = (await pipeline.exec()) ?? [];
    names.forEach((name, index) => {
      if (lives[index]?.[1] !== -1) return;
      const kind = name.slice('{cofferdam}:'.length).replace(ID, '*');
      counts[kind] = (counts[kind] ?? 0) + 1;
    });
  }
  return counts;
}
