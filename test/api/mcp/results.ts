/** A result of any end, as a worker would have stored it. */
import {
  exitCodeOf,
  type JobResult,
  NO_OUTPUT,
  NO_USAGE,
  type Outcome,
  verdictOf,
} from '../../../shared/contract/result.ts';

const WHEN = '2026-11-22T12:00:00.000Z';

export const resultWith = (outcome: Outcome | null, over: Partial<JobResult> = {}): JobResult => ({
  id: `job_${'0'.repeat(32)}`,
  state: outcome === null ? 'running' : 'done',
  outcome,
  ...(outcome === null ? { fault: 'none', ran: 'unknown', retryable: false } : verdictOf(outcome)),
  exitCode: outcome === null ? null : exitCodeOf(outcome),
  timedOut: outcome?.kind === 'timed_out',
  ...NO_OUTPUT,
  artifacts: [],
  artifactsSkipped: [],
  usage: NO_USAGE,
  timing: {
    acceptedAt: WHEN,
    startedAt: null,
    finishedAt: null,
    queuedMs: 0,
    setupMs: 0,
    runMs: 0,
  },
  attempt: 1,
  worker: null,
  image: 'base',
  runtime: 'runc',
  labels: {},
  ...over,
});

/** What was written to standard output, all of it kept. */
export const withStdout = (stdout: string): Partial<JobResult> => ({
  stdout,
  stdoutBytes: Buffer.byteLength(stdout),
});
