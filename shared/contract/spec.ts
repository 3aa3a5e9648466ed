/**
 * What was decided: the job as it will run, with no optional field left. Made by policy/resolve.ts, kept in Redis,
 * parsed again by the worker, which trusts nothing that comes out of a queue.
 */
import { z } from 'zod';
import { RUNTIMES } from '../runtimes.ts';
import { blobName, groupName, positiveInt, workGlob, workPath } from './units.ts';

export const SPEC_VERSION = 3;

const nonNegativeInt = z.int().nonnegative();

const specFile = z.union([
  z.strictObject({
    path: workPath,
    content: z.string(),
    encoding: z.enum(['utf8', 'base64']),
    executable: z.boolean(),
  }),
  z.strictObject({ path: workPath, blob: blobName, executable: z.boolean() }),
]);

const specStep = z.strictObject({
  name: z.string(),
  argv: z.array(z.string()).min(1),
  stdin: z.string().nullable(),
  timeoutMs: positiveInt,
});

export const jobSpec = z.strictObject({
  version: z.literal(SPEC_VERSION),
  image: z.string(),
  runtime: z.enum(RUNTIMES),
  /** Whether the caller asked for steps, and so reads them in the result. */
  hasSteps: z.boolean(),
  steps: z.array(specStep).min(1),
  env: z.record(z.string(), z.string()),
  cwd: workPath.nullable(),
  files: z.array(specFile),
  collect: z.array(workGlob),
  timeoutMs: positiveInt,
  limits: z.strictObject({
    cpuMs: positiveInt,
    cpus: z.number().positive(),
    memoryMb: positiveInt,
    processes: positiveInt,
    workspaceMb: positiveInt,
    openFiles: positiveInt,
    stdoutBytes: nonNegativeInt,
    stderrBytes: nonNegativeInt,
    artifactBytes: nonNegativeInt,
  }),
  parseJson: z.boolean(),
  truncate: z.enum(['head', 'tail', 'both']),
  onLost: z.enum(['retry', 'fail']),
  /** What may share its sandbox, one after another; null when nothing may. */
  group: groupName.nullable(),
  /** What is masked in stored output: patterns of the linear-time engine. See docs/policy.md. */
  redact: z.array(z.strictObject({ pattern: z.string().min(1), replacement: z.string() })),
});

/** Nothing that comes out of a queue is trusted, ours included. */
export function parseSpec(text: string): JobSpec | undefined {
  try {
    return jobSpec.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

export type JobSpec = z.infer<typeof jobSpec>;
export type JobLimits = JobSpec['limits'];
export type SpecFile = JobSpec['files'][number];
export type JobStep = JobSpec['steps'][number];
