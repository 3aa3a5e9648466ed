/**
 * Starts a real guest as PID 1 of its own namespaces (which takes root) and speaks frames with it. Reading is done
 * here by hand and not by the worker's decoder, so that one misunderstanding cannot hide in both.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect } from 'vitest';
import {
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  HEADER_BYTES,
  TO_GUEST,
} from '../../../services/worker/protocol/frame.ts';
import { type Job, jobFrames } from './job.ts';
import { collect, type Report } from './report.ts';

export * from './job.ts';
export * from './report.ts';

const REPOSITORY = resolve(import.meta.dirname, '../../..');
const WAIT_MS = 20_000;
const CONTROLLERS = ['memory', 'pids', 'cpuacct'];

export const BINARIES = ['build/guest', 'build/guest-asan'];

execFileSync(join(REPOSITORY, 'scripts/build-guest'), { stdio: 'inherit' });
execFileSync(join(REPOSITORY, 'scripts/build-guest'), ['--sanitize'], { stdio: 'inherit' });

export type Frame = { readonly type: number; readonly payload: Buffer };
export type Options = {
  readonly binary: string;
  readonly idleSeconds?: number;
  /** More options for the mount of /work, each with its comma before it. */
  readonly workOptions?: string;
  /** A folder to see as /sys/fs/cgroup; without it, a new version 1 cgroup; '' for none at all. */
  readonly cgroupFolder?: string;
  /** Written to the new cgroup's files before the guest starts. */
  readonly cgroup?: Readonly<Record<string, string>>;
  /** So many processes ran in the new cgroup before the guest, as a container runtime's threads do. */
  readonly processesBefore?: number;
};

const running = new Set<Guest>();
let started = 0;

/* Once a file, as tests may run side by side. A process or cgroup that will not go away fails it. */
afterAll(async () => {
  await Promise.all([...running].map((guest) => guest.stop()));
});

export class Guest {
  readonly exited: Promise<number | null>;
  readonly uid: number;
  stderr = '';
  #process: ChildProcess;
  #folder = mkdtempSync(join(tmpdir(), 'guest-test-'));
  #cgroup: string | undefined;
  #pending: Buffer[] = [];
  #frames: Frame[] = [];
  #ended = false;
  #wake: () => void = () => {};

  constructor(options: Options) {
    const number = started++;
    // RLIMIT_NPROC counts per uid over the whole machine: no two guests may share one.
    this.uid = 200_000 + (process.pid % 10_000) * 1000 + (number % 1000);
    if (options.cgroupFolder === undefined)
      this.#cgroup = createCgroup(`guest-test-${process.pid}-${number}`, options.cgroup ?? {});
    if (this.#cgroup && options.processesBefore)
      runProcesses(this.#cgroup, options.processesBefore);
    const sandbox = [
      join(import.meta.dirname, 'sandbox.sh'),
      join(REPOSITORY, options.binary),
      this.#folder,
      this.#cgroup ?? options.cgroupFolder ?? '',
      `${this.uid}`,
      `${options.idleSeconds ?? 30}`,
      options.workOptions ?? '',
    ];
    this.#process = spawn(
      'unshare',
      ['--pid', '--fork', '--kill-child', '--mount', '--ipc', '--net', ...sandbox],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    );
    this.#process.stdout?.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#process.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    this.#process.stdin?.on('error', () => {});
    this.exited = new Promise((done) => {
      this.#process.on('close', (code) => {
        this.#ended = true;
        this.#wake();
        done(code);
      });
    });
    running.add(this);
  }

  send(...frames: Uint8Array[]): void {
    this.#process.stdin?.write(Buffer.concat(frames));
  }

  /** One write a chunk, each given time to arrive by itself. */
  async sendSlowly(chunks: Uint8Array[]): Promise<void> {
    for (const chunk of chunks) {
      await new Promise((done) => this.#process.stdin?.write(chunk, done));
      await new Promise((done) => setImmediate(done));
    }
  }

  closeStdin(): void {
    this.#process.stdin?.end();
  }

  closeStdout(): void {
    this.#process.stdout?.destroy();
  }

  pauseStdout(): void {
    this.#process.stdout?.pause();
  }

  resumeStdout(): void {
    this.#process.stdout?.resume();
  }

  /** The next frame; undefined when the guest has ended. */
  async next(): Promise<Frame | undefined> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const frame = this.#frames.shift();
      if (frame) return frame;
      if (this.#ended) return undefined;
      if (Date.now() > deadline) throw new Error(`no frame in ${WAIT_MS} ms; ${this.stderr}`);
      await new Promise<void>((done) => {
        const timer = setTimeout(done, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          done();
        };
      });
    }
  }

  async expect(type: number): Promise<Frame> {
    const frame = await this.next();
    expect(frame?.type, this.stderr).toBe(type);
    return frame as Frame;
  }

  async hello(): Promise<void> {
    expect((await this.expect(FROM_GUEST.HELLO)).payload).toEqual(encodeInts(2));
  }

  /** After DONE: the guest says HELLO again. */
  async reset(): Promise<void> {
    this.send(encodeFrame(TO_GUEST.RESET));
    await this.hello();
  }

  async exitCode(): Promise<number | null> {
    const timeout = new Promise<never>((_, fail) =>
      setTimeout(() => fail(new Error('the guest does not end')), WAIT_MS).unref(),
    );
    return Promise.race([this.exited, timeout]);
  }

  /** Ends it whatever it does; safe to call twice. */
  async stop(): Promise<void> {
    running.delete(this);
    this.#process.kill('SIGKILL');
    await this.exitCode();
    rmdirSync(this.#folder);
    if (this.#cgroup) await removeCgroup(this.#cgroup);
    this.#cgroup = undefined;
  }

  #receive(chunk: Buffer): void {
    this.#pending.push(chunk);
    let bytes = Buffer.concat(this.#pending);
    while (bytes.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + bytes.readUInt32BE(1);
      if (bytes.length < end) break;
      this.#frames.push({ type: bytes.readUInt8(0), payload: bytes.subarray(HEADER_BYTES, end) });
      bytes = bytes.subarray(end);
    }
    this.#pending = [bytes];
    this.#wake();
  }
}

function createCgroup(name: string, settings: Readonly<Record<string, string>>): string {
  for (const controller of CONTROLLERS) mkdirSync(`/sys/fs/cgroup/${controller}/${name}`);
  for (const [file, value] of Object.entries(settings))
    writeFileSync(`/sys/fs/cgroup/${file.split('.')[0]}/${name}/${file}`, value);
  return name;
}

function runProcesses(cgroup: string, count: number): void {
  const script = `echo 0 >/sys/fs/cgroup/pids/${cgroup}/cgroup.procs
for i in $(seq ${count - 1}); do sleep 60 & all="$all $!"; done; kill $all; wait`;
  execFileSync('sh', ['-c', script]);
}

/** The kernel lets go of a dead process's cgroup a moment after its parent was told. */
async function removeCgroup(name: string): Promise<void> {
  for (const controller of CONTROLLERS) {
    for (let attempt = 0; ; attempt++) {
      try {
        rmdirSync(`/sys/fs/cgroup/${controller}/${name}`);
        break;
      } catch (error) {
        if (attempt === 100) throw error;
        await new Promise((done) => setTimeout(done, 10));
      }
    }
  }
}

export async function startGuest(options: Options): Promise<Guest> {
  const guest = new Guest(options);
  await guest.hello();
  return guest;
}

/** One job of a guest that says it is ready. */
export async function runIn(guest: Guest, job: Job): Promise<Report> {
  guest.send(...jobFrames(job));
  return collect(guest, job);
}

/** A whole life of a guest, which must end with 0. */
export async function inOneSandbox<Result>(
  options: Options,
  run: (guest: Guest) => Promise<Result>,
): Promise<Result> {
  const guest = await startGuest(options);
  const result = await run(guest);
  guest.send(encodeFrame(TO_GUEST.EXIT));
  expect(await guest.exitCode(), guest.stderr).toBe(0);
  await guest.stop();
  return result;
}

export const runJob = (options: Options, job: Job): Promise<Report> =>
  inOneSandbox(options, (guest) => runIn(guest, job));
