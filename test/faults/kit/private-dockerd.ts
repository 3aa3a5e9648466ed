/**
 * An engine of a test's own, on a private host, for tests that restart, stop and kill engines. It has the base image of
 * this machine's engine, with and without the guest; never does it touch that engine's sandboxes.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { packageRoot } from '../../../shared/images.ts';
import { docker } from '../../helpers/docker.ts';
import { type HostProcess, openPrivateHost, type PrivateHost } from './private-host.ts';

const BASE = 'cofferdam-image/base';
/** Base images with the guest in them, as workers have prepared them on this machine. */
const PREPARED = 'cofferdam/base';
const ARCHIVES = path.join(packageRoot, '.cofferdam/faults');
const UP_WITHIN_MS = 30_000;
const END_WITHIN_MS = 30_000;
const CALL_WITHIN_MS = 30_000;
const COPY_WITHIN_MS = 120_000;
const LOOK_MS = 50;

export interface PrivateDockerd {
  readonly host: PrivateHost;
  /** For COFFERDAM_ENGINE. */
  readonly address: string;
  readonly socketPath: string;
  readonly pid: number;
  /** Runs `docker …` against it. */
  docker(...args: string[]): Promise<string>;
  /** Ids of the sandboxes on it. */
  sandboxes(): Promise<string[]>;
  /** Ends the daemon, alone: its shims and sandboxes stay as it leaves them. */
  kill(signal?: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Starts it again and waits until it answers. */
  start(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Processes on its host whose command line has this in it. */
  pidsOf(part: string): number[];
  log(): string;
  /** Ends everything on its host and removes the host. */
  close(): Promise<void>;
}

/** With the base image in it, unless told otherwise; `dataRoot` where its data are not to be in the host's folder. */
export async function startPrivateDockerd(
  options: { host?: PrivateHost; dataRoot?: string; isEmpty?: boolean } = {},
): Promise<PrivateDockerd> {
  const host = options.host ?? (await openPrivateHost());
  const { folder } = host;
  const socketPath = path.join(folder, 'docker.sock');
  const address = `unix://${socketPath}`;
  const files = {
    data: options.dataRoot ?? path.join(folder, 'data'),
    exec: path.join(folder, 'exec'),
    pid: path.join(folder, 'docker.pid'),
    settings: path.join(folder, 'daemon.json'),
  };
  // In place of this machine's own settings of its engine.
  writeFileSync(files.settings, '{}');
  const command = [
    'dockerd',
    ...['--host', address, '--data-root', files.data, '--exec-root', files.exec],
    ...['--pidfile', files.pid, '--config-file', files.settings],
    ...['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false'],
  ];
  let daemon: HostProcess;

  const call = async (...args: string[]): Promise<string> => {
    const limit = { timeout: CALL_WITHIN_MS };
    return (await promisify(execFile)('docker', ['-H', address, ...args], limit)).stdout.trim();
  };
  const start = async (): Promise<void> => {
    // A daemon that was killed leaves these, and the next would take them for the files of one that lives.
    rmSync(files.pid, { force: true });
    rmSync(path.join(files.exec, 'containerd/containerd.pid'), { force: true });
    daemon = await host.start(command);
    const deadline = Date.now() + UP_WITHIN_MS;
    while (!(await call('version').catch(() => ''))) {
      if (daemon.hasEnded || Date.now() > deadline) {
        throw new Error(`the private engine did not start:\n${daemon.log().slice(-4000)}`);
      }
      await sleep(LOOK_MS);
    }
  };

  try {
    await start();
    if (!options.isEmpty) await load(address);
  } catch (error) {
    await host.close();
    throw error;
  }
  return {
    host,
    address,
    socketPath,
    get pid() {
      return daemon.pid;
    },
    docker: call,
    async sandboxes() {
      const ids = await call('ps', '-aq', '--filter', 'label=cofferdam.nonce');
      return ids === '' ? [] : ids.split('\n');
    },
    async kill(signal = 'SIGKILL') {
      daemon.signal(signal);
      const overdue = setTimeout(() => daemon.signal('SIGKILL'), END_WITHIN_MS);
      await daemon.ended;
      clearTimeout(overdue);
    },
    start,
    pause: () => daemon.signal('SIGSTOP'),
    resume: () => daemon.signal('SIGCONT'),
    pidsOf: (part) => pidsOn(host, part),
    log: () => daemon.log(),
    close: () => host.close(),
  };
}

/** Processes whose root of process numbers is the host's, that is: all that were started on it. */
function pidsOn(host: PrivateHost, part: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        const isOnHost = readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/${host.name}`);
        return isOnHost && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(part);
      } catch {
        return false; // it has ended
      }
    })
    .map(Number);
}

async function load(address: string): Promise<void> {
  const archive = await archiveOfBase();
  await promisify(execFile)('docker', ['-H', address, 'load', '-i', archive], {
    timeout: COPY_WITHIN_MS,
  });
}

/** The images in a file, which is made once for each state of them: reading them out of an engine takes a while. */
async function archiveOfBase(): Promise<string> {
  const found = await docker('images', '-q', '--no-trunc', BASE);
  if (found === '') throw new Error(`${BASE} is not on this machine: scripts/setup makes it`);
  const prepared = await docker('images', '-q', '--no-trunc', PREPARED);
  const state = createHash('sha256').update(`${found} ${prepared}`).digest('hex').slice(0, 12);
  const archive = path.join(ARCHIVES, `base-${state}.tar`);
  if (existsSync(archive)) return archive;
  mkdirSync(ARCHIVES, { recursive: true });
  for (const old of readdirSync(ARCHIVES)) rmSync(path.join(ARCHIVES, old), { force: true });
  const names = prepared === '' ? [BASE] : [BASE, PREPARED];
  const unfinished = `${archive}.${process.pid}`;
  await promisify(execFile)('docker', ['save', '-o', unfinished, ...names], {
    timeout: COPY_WITHIN_MS,
  });
  renameSync(unfinished, archive);
  return archive;
}
