/**
 * `cofferdam exec`: one job, as if its program ran here. Prints its stdout and stderr as they come, saves its artifacts, and
 * exits as it did; where it has no exit code of its own, the code and a line on stderr say why. ^C cancels the job.
 */
import { isUtf8 } from 'node:buffer';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { JobRequestInput } from '../../shared/contract/request.ts';
import type { JobResult, Outcome } from '../../shared/contract/result.ts';
import { signalNumber } from '../../shared/linux.ts';
import {
  type Connection,
  cancelJob,
  fetchArtifact,
  ServerError,
  submit,
  waitFor,
} from './client.ts';
import { followJob } from './follow.ts';
import { listenForInterruption } from './interruption.ts';
import { createPrinter, PipeClosedError } from './printer.ts';

export interface ExecOptions {
  readonly image?: string;
  readonly file?: readonly string[];
  readonly collect?: readonly string[];
  readonly output: string;
  readonly env?: readonly string[];
  readonly stdin?: boolean;
  readonly timeout?: string;
  readonly memory?: string;
  readonly label?: readonly string[];
  readonly json?: boolean;
}

/** The job has no exit code, and not through its program: the platform, a policy or a person ended it. */
const EXIT_NO_VERDICT = 125;

/** The exit code of this command for a result. */
export function exitCodeFor({
  outcome,
  exitCode,
}: Pick<JobResult, 'outcome' | 'exitCode'>): number {
  if (exitCode !== null) return exitCode;
  if (outcome?.kind === 'signaled') return 128 + (signalNumber(outcome.signal) ?? 0);
  return EXIT_NO_VERDICT;
}

const FORGED =
  'not run: the worker knows no key that it was signed with (docs/signatures.md); tell whoever runs the server';

/** Why there is no exit code of the program's own; undefined where there is one. */
export function explain(outcome: Outcome | null): string | undefined {
  switch (outcome?.kind) {
    case undefined:
    case 'exited':
      return undefined;
    case 'signaled':
      return `ended by ${outcome.signal}`;
    case 'timed_out':
      return `timed out (${outcome.limit} time); the output so far is above`;
    case 'out_of_memory':
      return 'out of memory; raise --memory';
    case 'output_limit':
      return 'ended because of its output: it wrote more than the server lets a job write';
    case 'could_not_start':
      return `could not start: ${outcome.errno} (${outcome.stage})`;
    case 'cancelled':
      return 'cancelled';
    case 'expired':
      return 'waited longer for its start than it may';
    case 'denied':
      return `denied by ${outcome.rule}: ${outcome.reason}`;
    case 'lost':
      if (outcome.cause === 'spec_forged') return FORGED;
      return `lost by the platform (${outcome.cause}); the same command may work again`;
    default:
      return outcome satisfies never;
  }
}

/** What whoever waits for a job has to know: that nothing happens until somebody else says yes. */
export function awaits({ id, state, approvalId }: JobResult): string | undefined {
  if (state !== 'awaiting_approval') return undefined;
  return `${id} waits for somebody's approval: \`cofferdam approvals show ${approvalId}\`, with a key that has policy:approve`;
}

const pairs = (texts: readonly string[] = [], what: string): Record<string, string> =>
  Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw new ServerError(`${what}: expected NAME=VALUE; came ${text}`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );

/** `a.py` goes to a.py; `there.py=./here.py` goes to there.py. */
function fileOf(text: string): NonNullable<JobRequestInput['files']>[number] {
  const at = text.indexOf('=');
  const from = at < 0 ? text : text.slice(at + 1);
  const to = at < 0 ? path.basename(text) : text.slice(0, at);
  let content: Buffer;
  try {
    content = readFileSync(from);
  } catch (cause) {
    throw new ServerError(`--file: ${(cause as Error).message}`, { cause });
  }
  return { path: to, content: content.toString('base64'), encoding: 'base64' };
}

export const wholeNumber = (text: string, what: string): number => {
  if (!/^[1-9]\d{0,9}$/.test(text))
    throw new ServerError(`${what}: expected a whole number; came ${text}`);
  return Number(text);
};

/** Standard input is text in a job: other bytes would arrive changed. */
function readStdin(): string {
  const bytes = readFileSync(0);
  if (isUtf8(bytes)) return bytes.toString('utf8');
  throw new ServerError('--stdin: expected UTF-8 text; send other bytes as a file (--file)');
}

export function requestOf(command: readonly string[], options: ExecOptions): JobRequestInput {
  return {
    command: [...command],
    ...(options.image === undefined ? {} : { image: options.image }),
    ...(options.file === undefined ? {} : { files: options.file.map(fileOf) }),
    ...(options.collect === undefined ? {} : { collect: [...options.collect] }),
    ...(options.env === undefined ? {} : { env: pairs(options.env, '--env') }),
    ...(options.label === undefined ? {} : { labels: pairs(options.label, '--label') }),
    ...(options.stdin ? { stdin: readStdin() } : {}),
    ...(options.timeout === undefined
      ? {}
      : { timeoutMs: wholeNumber(options.timeout, '--timeout') }),
    ...(options.memory === undefined
      ? {}
      : { limits: { memoryMb: wholeNumber(options.memory, '--memory') } }),
  };
}

/** A job that ends within this is one request; a longer one is followed from there on. */
const SHORT_SECONDS = 1;

interface Running {
  readonly server: Connection;
  readonly request: JobRequestInput;
  readonly signal: AbortSignal;
  readonly onAccepted: (job: JobResult) => void;
}

/** Runs one command and returns the exit code for this process. */
export async function runExec(
  server: Connection,
  command: readonly string[],
  options: ExecOptions,
): Promise<number> {
  const request = requestOf(command, options);
  const interruption = listenForInterruption();
  let id: string | undefined;
  const onAccepted = (accepted: JobResult): void => {
    id = accepted.id;
    const awaited = awaits(accepted);
    if (awaited !== undefined) process.stderr.write(`cofferdam: ${awaited}\n`);
  };
  const running: Running = { server, request, signal: interruption.signal, onAccepted };
  try {
    const result = options.json ? await runQuietly(running) : await runAloud(running);
    await saveArtifacts(server, result, options.output);
    return exitCodeFor(result);
  } catch (error) {
    const exitCode = error instanceof PipeClosedError ? error.exitCode : interruption.exitCode();
    if (exitCode === undefined) throw error;
    // Without an id yet: the server cancels the job whose client goes while it waits.
    if (id !== undefined) await cancelJob(server, id).catch(sayNotCancelled);
    return exitCode;
  } finally {
    interruption.release();
  }
}

const sayNotCancelled = (error: Error): void => {
  process.stderr.write(`cofferdam: the job may go on: ${error.message}\n`);
};

async function runQuietly({ server, request, signal, onAccepted }: Running): Promise<JobResult> {
  const job = await submit(server, request, { waitSeconds: SHORT_SECONDS, signal });
  onAccepted(job);
  const result = await waitFor(server, job, signal);
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  return result;
}

async function runAloud({ server, request, signal, onAccepted }: Running): Promise<JobResult> {
  const printer = createPrinter();
  let result = await submit(server, request, { waitSeconds: SHORT_SECONDS, signal });
  onAccepted(result);
  if (result.state === 'done') await printer.whole(result);
  else result = await followJob(server, result.id, { sink: printer, signal });
  const why = explain(result.outcome);
  if (why !== undefined) process.stderr.write(`cofferdam: ${why}\n`);
  if (result.isTruncated) {
    process.stderr.write(
      `cofferdam: output was cut: ${result.stdoutBytes} bytes of stdout, ${result.stderrBytes} of stderr were written\n`,
    );
  }
  return result;
}

async function saveArtifacts(server: Connection, result: JobResult, folder: string): Promise<void> {
  for (const artifact of result.artifacts) {
    const target = path.join(folder, artifact.path);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, await fetchArtifact(server, artifact.url));
    process.stderr.write(`cofferdam: saved ${target} (${artifact.bytes} bytes)\n`);
  }
}
