/**
 * A host within this one, for tests that break hosts: its processes, mounts, control groups and, where asked, network
 * are its own. When its first process ends, the kernel ends all others and undoes every mount: nothing that was started
 * on it can be left behind, however it was broken.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { packageRoot } from '../../../shared/images.ts';
import type { NetworkNamespace } from './network-namespace.ts';

const SCRIPT = path.join(packageRoot, 'test/faults/kit/private-host.sh');
const CGROUPS = '/sys/fs/cgroup';
const WITHIN_MS = 10_000;
const LOOK_MS = 20;
/** A host that is being opened may have no process yet. */
const FORSAKEN_AFTER_MS = 120_000;

export interface HostProcess {
  /** As this machine counts. */
  readonly pid: number;
  /** What it has printed so far. */
  log(): string;
  signal(signal: NodeJS.Signals): void;
  /** Resolves once it is gone. */
  readonly ended: Promise<void>;
  readonly hasEnded: boolean;
}

export interface PrivateHost {
  /** Also the name of its control group. */
  readonly name: string;
  /** A folder of its own on this machine's disk, removed with the host. */
  readonly folder: string;
  /** What goes on running. */
  start(command: readonly string[], env?: Readonly<Record<string, string>>): Promise<HostProcess>;
  /** A line of shell, which ends. */
  run(line: string): Promise<void>;
  /** Sets a limit on everything that runs on it, or on a group within: `pids.max`, `memory.limit_in_bytes`. */
  limit(file: string, value: string, group?: string): void;
  /** Everything on it ends at once, as when the power fails; what is on its disk stays. */
  cutPower(): Promise<void>;
  /** Ends it and removes its folder and groups; its network is for whoever made it. */
  close(): Promise<void>;
}

export async function openPrivateHost(
  network?: Pick<NetworkNamespace, 'name'>,
): Promise<PrivateHost> {
  const name = `cofferdam-host-${randomBytes(4).toString('hex')}`;
  const folder = path.join(os.tmpdir(), name);
  removeForsaken();
  mkdirSync(folder);
  const opened = follow(
    spawn('sh', [SCRIPT, 'open', name, ...(network ? [network.name] : [])], {
      stdio: ['pipe', 'pipe', 'pipe'],
    }),
  );
  await until(() => opened.log().includes('ready'), opened, 'the host did not open');
  const first = childOf(opened.pid, 'unshare') as number;

  const cutPower = async (): Promise<void> => {
    kill(first, 'SIGKILL');
    await opened.ended;
  };
  return {
    name,
    folder,
    async start(command, env = {}) {
      const child = spawn('sh', [SCRIPT, 'enter', name, String(first), ...command], {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const entered = follow(child);
      const inside = (): number | undefined => childOf(entered.pid, 'nsenter');
      await until(() => inside() !== undefined, entered, `${command[0]} did not start`);
      const pid = inside() as number;
      return {
        ...entered,
        pid,
        get hasEnded() {
          return entered.hasEnded;
        },
        signal(signal) {
          kill(pid, signal);
          // Whoever entered for it stops when it stops.
          if (signal === 'SIGCONT') kill(entered.pid, signal);
        },
      };
    },
    async run(line) {
      await follow(spawn('sh', [SCRIPT, 'enter', name, String(first), 'sh', '-c', line])).ended;
    },
    limit(file, value, group = '') {
      const files = groupsOf(path.join(name, group)).map((folder) => path.join(folder, file));
      for (const one of files.filter((path) => existsSync(path))) writeFileSync(one, value);
    },
    cutPower,
    async close() {
      await cutPower();
      for (const group of groupsOf(name)) removeGroup(group);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function follow(child: ChildProcess): HostProcess {
  let log = '';
  let hasEnded = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (bytes: Buffer) => {
      log += bytes.toString();
    });
  }
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => {
      hasEnded = true;
      resolve();
    });
  });
  return {
    pid: child.pid as number,
    log: () => log,
    signal: (signal) => kill(child.pid as number, signal),
    ended,
    get hasEnded() {
      return hasEnded;
    },
  };
}

async function until(isSo: () => boolean, one: HostProcess, otherwise: string): Promise<void> {
  const deadline = Date.now() + WITHIN_MS;
  while (!isSo()) {
    if (one.hasEnded || Date.now() > deadline) throw new Error(`${otherwise}:\n${one.log()}`);
    await sleep(LOOK_MS);
  }
}

/** The one child of a process once that has become this program; undefined before. */
function childOf(pid: number, program: string): number | undefined {
  try {
    if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() !== program) return undefined;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return children === '' ? undefined : Number(children.split(' ')[0]);
  } catch {
    return undefined;
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}

/** The group in every hierarchy that has it. */
const groupsOf = (name: string): string[] =>
  [CGROUPS, ...readdirSync(CGROUPS).map((hierarchy) => path.join(CGROUPS, hierarchy))]
    .map((hierarchy) => path.join(hierarchy, name))
    .filter((folder) => existsSync(folder));

/** What tests that were killed have left: their hosts ended with them, folders and groups did not. */
function removeForsaken(): void {
  for (const name of readdirSync(os.tmpdir())) {
    if (!/^cofferdam-host-[0-9a-f]{8}$/.test(name)) continue;
    const folder = path.join(os.tmpdir(), name);
    const isOld = Date.now() - statSync(folder).mtimeMs > FORSAKEN_AFTER_MS;
    if (!isOld || groupsOf(name).some(hasProcesses)) continue;
    for (const group of groupsOf(name)) removeGroup(group);
    rmSync(folder, { recursive: true, force: true });
  }
}

const hasProcesses = (folder: string): boolean =>
  readFileSync(path.join(folder, 'cgroup.procs'), 'utf8') !== '' ||
  readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .some((entry) => hasProcesses(path.join(folder, entry.name)));

function removeGroup(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeGroup(path.join(folder, entry.name));
  }
  rmdirSync(folder);
}
