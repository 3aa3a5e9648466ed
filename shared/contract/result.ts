/**
 * What happened: one flat object for every end of a job, and for a job that has none yet (`outcome` null, the figures
 * zero). `outcome` is a closed union; `fault`, `ran` and `retryable` follow from it, so that nobody takes a failure of
 * the platform for one of the program.
 */
import { z } from 'zod';

export const outcome = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('exited'), exitCode: z.int().min(0).max(255) }),
  z.strictObject({
    kind: z.literal('signaled'),
    signal: z.string().describe('The signal that ended the program, such as SIGSEGV.'),
  }),
  z.strictObject({ kind: z.literal('timed_out'), limit: z.enum(['wall', 'cpu']) }),
  z.strictObject({ kind: z.literal('out_of_memory') }),
  z.strictObject({
    kind: z.literal('output_limit'),
  }),
  z.strictObject({
    kind: z.literal('could_not_start'),
    stage: z.enum(['setup', 'files', 'cwd', 'exec']).describe('Where the start failed.'),
    errno: z.string().describe('The system error, such as ENOENT.'),
  }),
  z.strictObject({ kind: z.literal('cancelled'), by: z.enum(['caller', 'operator']) }),
  z.strictObject({ kind: z.literal('expired') }),
  z.strictObject({ kind: z.literal('denied'), rule: z.string(), reason: z.string() }),
  z.strictObject({
    kind: z.literal('lost'),
    cause: z.enum([
      'sandbox_lost',
      'sandbox_crashed',
      'sandbox_unresponsive',
      'sandbox_unavailable',
      'worker_lost',
      'spec_unreadable',
      'spec_forged',
    ]),
  }),
]);

export type Outcome = z.infer<typeof outcome>;

export const jobState = z.enum(['awaiting_approval', 'queued', 'running', 'done']);
export type JobState = z.infer<typeof jobState>;

const encoding = z
  .enum(['utf8', 'base64'])
  .describe('base64 when the bytes are not valid UTF-8 text.');

const count = z.int().nonnegative();

/** What one program wrote: exact bytes, with the place of the cut when some are missing. */
const output = {
  stdout: z.string(),
  stderr: z.string(),
  stdoutEncoding: encoding,
  stderrEncoding: encoding,
  stdoutBytes: count.describe('Bytes written to standard output in all, kept or not.'),
  stderrBytes: count.describe('Bytes written to standard error in all, kept or not.'),
  stdoutCutAt: count
    .nullable()
    .describe('Offset in the kept bytes at which bytes are missing; null when none are.'),
  stderrCutAt: count.nullable(),
  isTruncated: z.boolean().describe('Whether bytes of either stream are missing.'),
};

export const stepResult = z.strictObject({
  name: z.string(),
  outcome,
  exitCode: z.int().nullable(),
  ...output,
  wallMs: z.number().nonnegative(),
  cpuMs: z.number().nonnegative(),
});

export const artifact = z.strictObject({
  path: z.string(),
  bytes: count,
  sha256: z.string(),
  url: z.string(),
});

export const skippedArtifact = z.strictObject({
  path: z.string(),
  reason: z.enum(['not_regular', 'unreadable', 'too_large', 'too_many']),
});

export const jobResult = z.strictObject({
  id: z.string(),
  state: jobState,
  outcome: outcome.nullable(),
  fault: z
    .enum(['none', 'program', 'caller', 'policy', 'platform'])
    .describe('Whose fault it is that the job did not end with exit code 0.'),
  retryable: z.boolean().describe('Whether the same job may end otherwise without a change.'),
  ran: z.enum(['no', 'yes', 'unknown']).describe('Whether the program was started.'),
  exitCode: z
    .int()
    .nullable()
    .describe(
      'For convenience: 124 on a timeout, 137 when out of memory; `outcome` tells the truth.',
    ),
  timedOut: z.boolean(),
  ...output,
  json: z.unknown().optional().describe('The parsed standard output, when `parseJson` was asked.'),
  parseJsonError: z.string().optional(),
  steps: z.array(stepResult).optional(),
  artifacts: z.array(artifact),
  artifactsSkipped: z.array(skippedArtifact).describe('Files that matched but were not kept.'),
  usage: z.strictObject({
    wallMs: z.number().nonnegative(),
    cpuMs: z.number().nonnegative(),
    peakMemoryBytes: count,
    peakProcesses: count,
  }),
  timing: z.strictObject({
    acceptedAt: z.iso.datetime(),
    startedAt: z.iso.datetime().nullable(),
    finishedAt: z.iso.datetime().nullable(),
    queuedMs: z.number().nonnegative().describe('From acceptance until a worker took the job.'),
    setupMs: z.number().nonnegative().describe('From there until its program started.'),
    runMs: z.number().nonnegative().describe('From there until its end.'),
  }),
  attempt: count.describe('How often the job was started.'),
  worker: z.string().nullable(),
  image: z.string().describe('The image by its digest once the job ran, else by its name.'),
  runtime: z.string(),
  labels: z.record(z.string(), z.string()),
  approvalId: z
    .string()
    .optional()
    .describe('The approval that it waits for, or waited for in vain.'),
});

export type JobResult = z.infer<typeof jobResult>;
export type StepResult = z.infer<typeof stepResult>;
export type Artifact = z.infer<typeof artifact>;
export type SkippedArtifact = z.infer<typeof skippedArtifact>;
export type Fault = JobResult['fault'];
export type Ran = JobResult['ran'];

/** Whose fault, whether it ran, whether to try again: the verdict that follows from an outcome. */
export function verdictOf(end: Outcome): { fault: Fault; ran: Ran; retryable: boolean } {
  switch (end.kind) {
    case 'exited':
      return { fault: end.exitCode === 0 ? 'none' : 'program', ran: 'yes', retryable: false };
    case 'signaled':
    case 'timed_out':
    case 'out_of_memory':
    case 'output_limit':
      return { fault: 'program', ran: 'yes', retryable: false };
    case 'could_not_start':
      return end.stage === 'setup'
        ? { fault: 'platform', ran: 'no', retryable: true }
        : { fault: 'caller', ran: 'no', retryable: false };
    case 'cancelled':
      return { fault: 'caller', ran: 'unknown', retryable: false };
    case 'expired':
      return { fault: 'platform', ran: 'no', retryable: true };
    case 'denied':
      return { fault: 'policy', ran: 'no', retryable: false };
    case 'lost':
      // The kernel of its own that the sandbox had: under one program, and again under the same.
      if (end.cause === 'sandbox_crashed')
        return { fault: 'program', ran: 'yes', retryable: false };
      return {
        fault: 'platform',
        ran: isUnusableSpec(end) || end.cause === 'sandbox_unavailable' ? 'no' : 'unknown',
        retryable: !isUnusableSpec(end),
      };
    default:
      return end satisfies never;
  }
}

/** What was decided cannot be read, or is not what was decided: the same job would meet the same end. */
const isUnusableSpec = ({ cause }: Extract<Outcome, { kind: 'lost' }>): boolean =>
  cause === 'spec_unreadable' || cause === 'spec_forged';

const EXIT_CODE_NOT_FOUND = 127;
const EXIT_CODE_NOT_EXECUTABLE = 126;

/** The exit code that a shell user expects; null where the program has none. */
export function exitCodeOf(end: Outcome): number | null {
  switch (end.kind) {
    case 'exited':
      return end.exitCode;
    case 'timed_out':
      return 124;
    case 'out_of_memory':
      return 137;
    case 'could_not_start':
      if (end.stage !== 'exec') return null;
      return end.errno === 'ENOENT' ? EXIT_CODE_NOT_FOUND : EXIT_CODE_NOT_EXECUTABLE;
    default:
      return null;
  }
}

export const NO_OUTPUT = {
  stdout: '',
  stderr: '',
  stdoutEncoding: 'utf8',
  stderrEncoding: 'utf8',
  stdoutBytes: 0,
  stderrBytes: 0,
  stdoutCutAt: null,
  stderrCutAt: null,
  isTruncated: false,
} as const satisfies Partial<JobResult>;

export const NO_USAGE = { wallMs: 0, cpuMs: 0, peakMemoryBytes: 0, peakProcesses: 0 } as const;
