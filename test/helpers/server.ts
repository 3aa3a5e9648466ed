/** A real server in a process of its own: `cofferdam serve` on a free port with a data folder that goes with it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobRequestInput } from '../../shared/contract/request.ts';
import type { JobResult } from '../../shared/contract/result.ts';
import { packageRoot } from '../../shared/images.ts';

/** The default lets a key send 600 single jobs a minute: fewer than tests send. */
const OPEN_POLICY = path.join(packageRoot, 'test/fixtures/policies/open.yaml');
const START_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 50_000;
const REQUEST_WITHIN_MS = 75_000;

export interface ServerProcess {
  readonly url: string;
  readonly key: string;
  readonly dataDir: string;
  readonly pid: number;
  /** The id of its worker, which its sandboxes are labelled with. */
  worker(): string;
  /** What it has logged so far. */
  log(): string;
  /** Ends it with a signal and returns its exit code; its data folder is removed. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

export async function startServer(
  env: Readonly<Record<string, string>> = {},
  {
    command = 'serve',
    isDetached = false,
  }: { command?: 'serve' | 'api'; isDetached?: boolean } = {},
): Promise<ServerProcess> {
  const dataDir = env.COFFERDAM_DATA_DIR ?? mkdtempSync(path.join(os.tmpdir(), 'cofferdam-test-'));
  const started = await startProcess(
    command,
    { COFFERDAM_DATA_DIR: dataDir, COFFERDAM_PORT: '0', ...env },
    { up: /"url":"(http:[^"]+)".*"api started"/, isDetached },
  );
  const key = env.COFFERDAM_DEV_KEY ?? readFileSync(path.join(dataDir, 'key'), 'utf8').trim();
  const worker = (): string => started.log().match(/"worker":"([^"]+)"/)?.[1] ?? '';
  const stop = async (signal?: NodeJS.Signals): Promise<number | null> => {
    const code = await started.stop(signal);
    rmSync(dataDir, { recursive: true, force: true });
    return code;
  };
  return { ...started, url: started.said, key, dataDir, worker, stop };
}

/** A process that ended, or said nothing for too long, before it was up. */
export class DidNotStartError extends Error {
  override readonly name = 'DidNotStartError';
  readonly end: NodeJS.Signals | number | null;

  constructor(end: NodeJS.Signals | number | null, message: string) {
    super(message);
    this.end = end;
  }
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * One `cofferdam <command>`, once its log has the line that it is up; `said` is the first group of that line. A detached
 * one does not hear a ^C in the terminal: who started it has to stop it.
 */
export async function startProcess(
  command: 'serve' | 'api' | 'worker',
  env: Readonly<Record<string, string>>,
  {
    up,
    isDetached,
    within = [],
    nodeOptions = [],
  }: {
    up: RegExp;
    isDetached: boolean;
    /** A command line that becomes the process's own, such as `ip netns exec one`. */
    within?: readonly string[];
    nodeOptions?: readonly string[];
  },
) {
  const program = path.join(packageRoot, 'dist/services/cli/main.js');
  const [executable = '', ...args] = [
    ...within,
    process.execPath,
    ...nodeOptions,
    program,
    command,
  ];
  const child = spawn(executable, args, {
    env: { ...process.env, COFFERDAM_POLICY: OPEN_POLICY, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: isDetached,
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      log += bytes.toString();
    });
  }
  const exited = new Promise<Exit>((resolve) =>
    child.once('exit', (code, signal) => resolve({ code, signal })),
  );
  const said = await upLine(child, () => log, up);
  return {
    pid: child.pid as number,
    said,
    log: () => log,
    exited,
    signal: (signal: NodeJS.Signals): boolean => child.kill(signal),
    async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
      child.kill(signal);
      const overdue = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
      const { code } = await exited;
      clearTimeout(overdue);
      return code;
    },
  };
}

async function upLine(child: ChildProcess, log: () => string, up: RegExp): Promise<string> {
  const deadline = Date.now() + START_WITHIN_MS;
  while (Date.now() < deadline) {
    const [, said] = log().match(up) ?? [];
    if (said !== undefined) return said;
    if (child.exitCode !== null || child.signalCode !== null) break;
    await sleep(50);
  }
  const end = child.signalCode ?? child.exitCode;
  child.kill('SIGKILL');
  throw new DidNotStartError(end, `The server did not start (${end ?? 'no end'}):\n${log()}`);
}

/** Requests to one server as one caller. */
export function callerOf({ url, key }: Pick<ServerProcess, 'url' | 'key'>) {
  const send = (
    route: string,
    init: { method?: string; body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Response> => {
    const isText = typeof init.body === 'string' || init.body instanceof Uint8Array;
    return fetch(url + route, {
      method: init.method ?? 'GET',
      headers: {
        Authorization: `Bearer ${key}`,
        ...(init.body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...init.headers,
      },
      ...(init.body === undefined
        ? {}
        : { body: isText ? (init.body as string) : JSON.stringify(init.body) }),
      signal: AbortSignal.timeout(REQUEST_WITHIN_MS),
    });
  };
  return {
    send,
    /** Submits without waiting; the view of the accepted job. */
    async submit(
      request: JobRequestInput,
      headers: Record<string, string> = {},
    ): Promise<JobResult> {
      const response = await send('/v1/jobs', { method: 'POST', body: request, headers });
      if (response.status !== 202) throw new Error(`${response.status}: ${await response.text()}`);
      return (await response.json()) as JobResult;
    },
    /** Submits and waits for the end. */
    async run(request: JobRequestInput, headers: Record<string, string> = {}): Promise<JobResult> {
      const wait = { Prefer: 'wait=60', ...headers };
      const response = await send('/v1/jobs', { method: 'POST', body: request, headers: wait });
      if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
      return (await response.json()) as JobResult;
    },
    async get(id: string, waitSeconds = 0): Promise<JobResult> {
      const response = await send(`/v1/jobs/${id}?wait=${waitSeconds}`);
      if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
      return (await response.json()) as JobResult;
    },
  };
}

export type Caller = ReturnType<typeof callerOf>;
