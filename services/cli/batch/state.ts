/**
 * The file beside the results of a batch that says which batch they are of, so that the same command goes on after
 * whatever cut it. Where in the results to go on, the results themselves say: their last line has the cursor.
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { z } from 'zod';
import { ServerError } from '../client.ts';

const runState = z.strictObject({
  version: z.literal(1),
  url: z.string(),
  /** Names the upload: repeated with the same key it makes no second batch. */
  idempotencyKey: z.string().nullable(),
  /** SHA-256 of what is uploaded, options included; null where the upload cannot be repeated. */
  uploadDigest: z.string().nullable(),
  /** Null until the upload has ended. */
  batch: z.string().nullable(),
  /** Jobs of the upload that were refused and left out. */
  refused: z.int().nonnegative(),
  /** The process that writes the results. */
  pid: z.int().positive(),
});

export type RunState = z.infer<typeof runState>;

export const stateFileOf = (output: string): string => `${output}.state.json`;

/** Undefined where there is none. */
export function readState(output: string): RunState | undefined {
  const file = stateFileOf(output);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ServerError(`${file}: ${(cause as Error).message}`, { cause });
  }
  const parsed = runState.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  throw new ServerError(
    `${file}: expected what \`cofferdam batch\` wrote about ${output}; came something else. Remove both to start anew.`,
  );
}

/** In one step: whoever is killed meanwhile leaves the state of before. */
export function writeState(output: string, state: RunState): void {
  const file = stateFileOf(output);
  const fresh = `${file}.new`;
  try {
    const descriptor = openSync(fresh, 'w', 0o600);
    try {
      writeSync(descriptor, `${JSON.stringify(state, null, 2)}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(fresh, file);
  } catch (cause) {
    throw new ServerError(`${file}: ${(cause as Error).message}`, { cause });
  }
}

export const removeState = (output: string): void => rmSync(stateFileOf(output), { force: true });

/** Throws when a living process writes the same results: two would write every line twice. */
export function refuseSecondWriter(output: string, { pid }: RunState): void {
  if (pid === process.pid || !isBatchCommand(pid)) return;
  throw new ServerError(
    `${output} is being written by process ${pid}. Wait for it, or end it (kill ${pid}).`,
  );
}

/** Alive, and a command of ours: a pid may have been given to somebody else since. */
function isBatchCommand(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes('batch');
  } catch (error) {
    // Without /proc nothing more can be known: a living process is taken for ours.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && process.platform !== 'linux';
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
