/** A job for the tests, and its frames. */
import {
  encodeFrame,
  encodeInts,
  LIMITS_FIELDS,
  TO_GUEST,
} from '../../../services/worker/protocol/frame.ts';

export type Ints<Field extends string> = Record<Field, number>;
export type Limits = Ints<(typeof LIMITS_FIELDS)[number]>;

export type Step = {
  readonly argv: readonly string[];
  readonly timeoutMs?: number;
  readonly stdin?: Uint8Array;
};
export type Job = {
  readonly limits?: Partial<Limits>;
  readonly files?: readonly { path: string; content?: string | Uint8Array; executable?: boolean }[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly steps?: readonly Step[];
  readonly collect?: readonly string[];
};
const LIMITS: Limits = {
  wallMs: 10_000,
  cpuMs: 10_000,
  cpuMilli: 2000,
  openFiles: 64,
  processes: 64,
  fileBytes: 64 << 20,
  stdoutBytes: 1 << 20,
  stderrBytes: 1 << 20,
  streamBytes: 1 << 30,
  truncate: 0,
  artifactBytes: 1 << 20,
  artifactCount: 100,
  lifeMs: 30_000,
};

export const text = (value: string) => Buffer.from(value);
export const sh = (script: string): Step => ({ argv: ['sh', '-c', script] });
export const python = (script: string): Step => ({ argv: ['python3', '-c', script] });

export function limitsFrame(limits: Partial<Limits> = {}): Buffer {
  const all = { ...LIMITS, ...limits };
  return encodeFrame(TO_GUEST.LIMITS, encodeInts(...LIMITS_FIELDS.map((field) => all[field])));
}

/** The frames of a whole job, RUN included. */
export function jobFrames(job: Job): Buffer[] {
  const frames = [limitsFrame(job.limits)];
  for (const { path, content = '', executable = false } of job.files ?? []) {
    frames.push(encodeFrame(TO_GUEST.FILE, encodeInts(executable ? 1 : 0), text(path)));
    const bytes = Buffer.from(content as string);
    for (let at = 0; at < bytes.length; at += 65_536)
      frames.push(encodeFrame(TO_GUEST.FILE_DATA, bytes.subarray(at, at + 65_536)));
  }
  if (job.cwd !== undefined) frames.push(encodeFrame(TO_GUEST.CWD, text(job.cwd)));
  const env = { PATH: '/usr/bin:/bin', ...job.env };
  for (const [name, value] of Object.entries(env))
    frames.push(encodeFrame(TO_GUEST.ENV, text(`${name}=${value}`)));
  for (const { argv, timeoutMs = 10_000, stdin } of job.steps ?? [sh('true')]) {
    frames.push(encodeFrame(TO_GUEST.STEP, encodeInts(timeoutMs, stdin ? 1 : 0)));
    for (const arg of argv) frames.push(encodeFrame(TO_GUEST.ARG, text(arg)));
  }
  for (const glob of job.collect ?? []) frames.push(encodeFrame(TO_GUEST.COLLECT, text(glob)));
  frames.push(encodeFrame(TO_GUEST.RUN));
  return frames;
}
