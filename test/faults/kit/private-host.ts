/**
 * A host within this one, for tests that break hosts: its processes, mounts, control groups and, where asked, network
 * are its own. When its first process ends, the kernel ends all others and undoes every mount: nothing that was started
 * on it can be left behind, however it was broken.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { packageRoot } from '../../../shared/images.ts';
import type { NetworkNamespace } from './network-namespace.ts';

const SCRIPT = path.join(packageRoot, 'test/faults/kit/private-host.sh');
const CGROUPS = '/sys/fs/cgroup';
const WITHIN_MS = 10_000;
const LOOK_MS = 20;

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
  readonly network: NetworkNamespace | undefined;
  start(command: readonly string[], env?: Readonly<Record<string, string>>): Promise<HostProcess>;
  /** Sets a limit on everything that runs on it, or on a group within: `pids.max`, `memory.limit_in_bytes`. */
  limit(file: string, value: string, group?: string): void;
  /** Everything on it ends at once, as when the power fails; what is on its disk stays. */
  cutPower(): Promise<void>;
  /** Ends it and removes its folder, groups and network. */
  close(): Promise<void>;
}

export async function openPrivateHost(network?: NetworkNamespace): Promise<PrivateHost> {
  const name = `cofferdam-host-${randomBytes(4).toString('hex')}`;
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-host-'));
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
    network,
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
    limit(file, value, group = '') {
      for (const at of groupsOf(name)) {
        const limited = path.join(at, group);
        if (readdirSync(limited).includes(file)) writeFileSync(path.join(limited, file), value);
      }
    },
    cutPower,
    async close() {
      await cutPower();
      for (const group of groupsOf(name)) removeGroup(group);
      rmSync(folder, { recursive: true, force: true });
      await network?.remove();
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
    .filter((folder) => isFolder(folder));

function isFolder(folder: string): boolean {
  try {
    readdirSync(folder);
    return true;
  } catch {
    return false;
  }
}

function removeGroup(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeGroup(path.join(folder, entry.name));
  }
  rmdirSync(folder);
}
