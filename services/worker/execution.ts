/** One job in one leased sandbox: what it said, what it left, and why it was ended, gathered as it goes. */
import { createHash } from 'node:crypto';
import type { Artifact, SkippedArtifact } from '../../shared/contract/result.ts';
import type { JobSpec } from '../../shared/contract/spec.ts';
import { workPath } from '../../shared/contract/units.ts';
import { milestone } from '../../shared/milestones.ts';
import { steadyNowMs } from '../../shared/steady-clock.ts';
import { type Capture, type CapturedStream, createCapture } from './capture.ts';
import type { Deadline } from './deadline.ts';
import type { GuestReport, GuestSink } from './protocol/conversation.ts';
import { ProtocolError } from './protocol/decoder.ts';
import { CAUSE, SKIPPED } from './protocol/frame.ts';
import { encodeJob, MAX_ARTIFACTS } from './protocol/guest-job.ts';
import type { CauseOfDeath, Sandbox } from './sandbox/sandbox.ts';

/** What a guest is given to report after it was told to end a job. */
const KILL_GRACE_MS = 1_000;
/** How long past all its limits a guest may take to report: artifacts have to travel. */
export const REPORT_GRACE_MS = 5_000;

export interface KeptArtifact {
  readonly path: string;
  readonly content: Buffer;
  readonly sha256: string;
}

export interface StepOutput {
  readonly stdout: CapturedStream;
  readonly stderr: CapturedStream;
}

export interface Execution {
  /** Undefined when the guest was lost before it could say. */
  readonly report: GuestReport | undefined;
  readonly outputs: readonly StepOutput[];
  readonly artifacts: readonly KeptArtifact[];
  readonly skipped: readonly SkippedArtifact[];
  readonly startedAtMs: number | undefined;
  readonly error: Error | undefined;
  readonly causeOfDeath: CauseOfDeath | undefined;
}

/** What is captured of one step. */
export interface StepCaptures {
  readonly stdout: Capture;
  readonly stderr: Capture;
}

/** Who looks at the output while it grows. */
export interface OutputWatcher {
  /** The steps that have started, the last of which may still run. */
  onOutput(steps: readonly StepCaptures[]): void;
}

export async function execute(
  sandbox: Sandbox,
  spec: JobSpec,
  options: {
    deadline: Deadline;
    streamBytes: number;
    /** Whether the sandbox may serve another job after this one. */
    isShared?: boolean;
    /** The content of every blob that the spec names. */
    blobs: ReadonlyMap<string, Buffer>;
    /** Absent where nobody can follow. */
    watcher?: OutputWatcher;
  },
): Promise<Execution> {
  const { deadline, streamBytes, blobs } = options;
  const resetAfter = options.isShared === true && spec.steps.every(({ stdin }) => stdin === null);
  const lifeMs = spec.timeoutMs + REPORT_GRACE_MS;
  const gathered = createGathering(spec, options.watcher);
  let killTimer: NodeJS.Timeout | undefined;
  const end = (): void => {
    sandbox.session.kill(deadline.cause?.kind === 'cancelled' ? CAUSE.CANCELLED : CAUSE.ABORTED);
    killTimer = setTimeout(() => sandbox.disconnect(), KILL_GRACE_MS);
  };
  deadline.signal.addEventListener('abort', end);
  // Before the guest's own last deadline: told to end, it can still report.
  deadline.startClock(lifeMs - KILL_GRACE_MS);

  let report: GuestReport | undefined;
  let error: Error | undefined;
  try {
    const run = sandbox.session.run({
      encoded: encodeJob(spec, { streamBytes, lifeMs, blobs, resetAfter }),
      resetAfter,
      stdin: spec.steps.map(({ stdin }) => (stdin === null ? null : Buffer.from(stdin))),
      sink: gathered.sink,
    });
    if (deadline.signal.aborted) end();
    report = await run;
    milestone('last_frame');
  } catch (cause) {
    error = cause instanceof Error ? cause : new Error(String(cause));
  } finally {
    clearTimeout(killTimer);
    deadline.signal.removeEventListener('abort', end);
    deadline.clear();
  }
  // A job can take the guest with it, by its memory or with the sandbox's own kernel: that is no loss of ours.
  const isLost = report === undefined && deadline.cause === undefined;
  const causeOfDeath = isLost ? await sandbox.causeOfDeath() : undefined;
  if (deadline.signal.aborted) gathered.dropLastArtifact();
  return { report, error, causeOfDeath, ...gathered.finish(report) };
}

interface OpenArtifact {
  readonly path: string;
  readonly chunks: Buffer[];
}

const SKIPPED_REASONS: Readonly<Record<number, SkippedArtifact['reason']>> = {
  [SKIPPED.NOT_REGULAR]: 'not_regular',
  [SKIPPED.UNREADABLE]: 'unreadable',
  [SKIPPED.TOO_LARGE]: 'too_large',
  [SKIPPED.TOO_MANY]: 'too_many',
};

/** So many files that are not kept are named; a job can make more than a result should hold. */
const SKIPPED_SHOWN = 100;

/** Bounded whatever the guest sends: past a limit it throws, and the session fails. */
function createGathering(
  spec: JobSpec,
  watcher?: OutputWatcher,
): {
  sink: GuestSink;
  /** A guest that was told to end may have stopped within a file. */
  dropLastArtifact(): void;
  finish(report: GuestReport | undefined): Omit<Execution, 'report' | 'error' | 'causeOfDeath'>;
} {
  const captures: StepCaptures[] = [];
  const artifacts: OpenArtifact[] = [];
  const skipped: SkippedArtifact[] = [];
  let artifactBytes = 0;
  let startedAtMs: number | undefined;

  const skip = (path: string, reason: SkippedArtifact['reason']): void => {
    if (skipped.length < SKIPPED_SHOWN) skipped.push({ path, reason });
  };

  const sink: GuestSink = {
    onStarted() {
      startedAtMs ??= steadyNowMs();
      captures.push({
        stdout: createCapture(spec.limits.stdoutBytes),
        stderr: createCapture(spec.limits.stderrBytes),
      });
      watcher?.onOutput(captures);
    },
    onOutput(step, stream, part, bytes) {
      captures[step]?.[stream].add(part, bytes);
      milestone('mid_stream');
      watcher?.onOutput(captures);
    },
    onArtifact(path) {
      if (artifacts.length >= MAX_ARTIFACTS) {
        throw new ProtocolError(`more than ${MAX_ARTIFACTS} artifacts came`);
      }
      artifacts.push({ path, chunks: [] });
    },
    onArtifactData(bytes) {
      artifactBytes += bytes.length;
      if (artifactBytes > spec.limits.artifactBytes) {
        throw new ProtocolError(`more than ${spec.limits.artifactBytes} bytes of artifacts came`);
      }
      artifacts.at(-1)?.chunks.push(bytes);
    },
    onArtifactSkipped(path, reason) {
      const open = artifacts.at(-1);
      if (open?.path === path) {
        artifacts.pop();
        artifactBytes -= open.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      }
      skip(path, SKIPPED_REASONS[reason] ?? 'unreadable');
    },
  };

  return {
    sink,
    dropLastArtifact() {
      const last = artifacts.pop();
      if (last !== undefined) skip(last.path, 'unreadable');
    },
    finish(report) {
      const kept: KeptArtifact[] = [];
      for (const { path, chunks } of artifacts) {
        // A name that no request could ask for (a newline in it, say) is named, not kept.
        if (!workPath.safeParse(path).success) {
          skip(path, 'unreadable');
          continue;
        }
        const content = Buffer.concat(chunks);
        kept.push({ path, content, sha256: createHash('sha256').update(content).digest('hex') });
      }
      return {
        outputs: captures.map(({ stdout, stderr }, step) => ({
          stdout: stdout.finish(report?.steps[step]?.stdoutTotal ?? null),
          stderr: stderr.finish(report?.steps[step]?.stderrTotal ?? null),
        })),
        artifacts: report === undefined ? [] : kept,
        skipped,
        startedAtMs: startOf(report, startedAtMs),
      };
    },
  };
}

/** The guest may tell of the start of a short job together with its end. */
function startOf(
  report: GuestReport | undefined,
  heardAtMs: number | undefined,
): number | undefined {
  if (report === undefined || heardAtMs === undefined) return heardAtMs;
  const ranUs = report.steps.reduce((sum, { wallUs }) => sum + wallUs, 0);
  return Math.min(heardAtMs, Math.round(steadyNowMs() - ranUs / 1000));
}

/** The artifact as a result names it. */
export const artifactOf = (jobId: string, { path, content, sha256 }: KeptArtifact): Artifact => ({
  path,
  bytes: content.length,
  sha256,
  url: `/v1/jobs/${jobId}/artifacts/${path.split('/').map(encodeURIComponent).join('/')}`,
});
