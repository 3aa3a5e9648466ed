/** Record, spec and execution → the one result that everybody reads. */
import {
  exitCodeOf,
  type JobResult,
  NO_OUTPUT,
  type Outcome,
  type Ran,
  type StepResult,
  verdictOf,
} from '../../shared/contract/result.ts';
import type { JobSpec } from '../../shared/contract/spec.ts';
import { endWithoutRun } from '../../shared/queue/end-without-run.ts';
import type { Used } from '../../shared/queue/holds.ts';
import type { JobRecord } from '../../shared/queue/job-record.ts';
import { maskStrings } from '../../shared/redaction.ts';
import type { CapturedStream } from './capture.ts';
import { artifactOf, type Execution, type StepOutput } from './execution.ts';
import { endedWell, outcomeOfStep } from './outcome.ts';

export interface EndedJob {
  readonly id: string;
  readonly record: JobRecord;
  readonly start: number;
  readonly spec: JobSpec;
  readonly imageDigest: string;
  readonly worker: string;
  readonly execution: Execution;
  readonly outcome: Outcome;
  readonly finishedAtMs: number;
}

export function resultOf(ended: EndedJob): JobResult {
  const { id, record, spec, execution, outcome, finishedAtMs } = ended;
  const { report, startedAtMs, outputs } = execution;
  const last = outputs.at(-1);
  const takenAtMs = record.takenAt ?? finishedAtMs;
  const without = endWithoutRun({ id, record, outcome, finishedAtMs });
  return {
    ...without,
    ...verdictOf(outcome),
    ran: ranOf(outcome, execution),
    ...(last ? outputFields(last) : NO_OUTPUT),
    ...(spec.parseJson ? parsedJson(last?.stdout, spec.redact) : {}),
    ...(spec.hasSteps ? { steps: stepResults(spec, execution, outcome) } : {}),
    artifacts: execution.artifacts.map((artifact) => artifactOf(id, artifact)),
    artifactsSkipped: [...execution.skipped],
    usage: {
      wallMs: sum(report?.steps.map(({ wallUs }) => wallUs)) / 1000,
      cpuMs: (report?.usage.cpuUs ?? 0) / 1000,
      peakMemoryBytes: report?.usage.peakMemoryBytes ?? 0,
      peakProcesses: report?.usage.peakProcesses ?? 0,
    },
    timing: {
      ...without.timing,
      startedAt: startedAtMs === undefined ? null : new Date(startedAtMs).toISOString(),
      queuedMs: Math.max(0, takenAtMs - record.acceptedAt),
      setupMs: Math.max(0, (startedAtMs ?? finishedAtMs) - takenAtMs),
      runMs: startedAtMs === undefined ? 0 : Math.max(0, finishedAtMs - startedAtMs),
    },
    attempt: record.starts,
    worker: ended.worker,
    image: ended.imageDigest,
  };
}

/** What limits of the policy count; output as much of it as is kept. Without the guest's word it may have been anything. */
export function usedBy({
  spec,
  execution,
}: Pick<EndedJob, 'spec' | 'execution'>): Used | undefined {
  if (execution.report === undefined) return undefined;
  const { stdoutBytes, stderrBytes } = spec.limits;
  const kept = execution.outputs.map(
    ({ stdout, stderr }) =>
      Math.min(stdout.totalBytes, stdoutBytes) + Math.min(stderr.totalBytes, stderrBytes),
  );
  return {
    wallMs: Math.ceil(sum(execution.report?.steps.map(({ wallUs }) => wallUs)) / 1000),
    cpuMs: Math.ceil((execution.report?.usage.cpuUs ?? 0) / 1000),
    outputBytes: sum(kept),
  };
}

const sum = (values: readonly number[] = []): number => values.reduce((all, one) => all + one, 0);

/** The guest's word where there is one; a lost guest may have started the program just before. */
function ranOf(outcome: Outcome, { report, startedAtMs, outputs }: Execution): Ran {
  if (outcome.kind === 'could_not_start' && outputs.length <= 1) return 'no';
  if (startedAtMs !== undefined) return 'yes';
  return report === undefined ? 'unknown' : 'no';
}

const outputFields = ({ stdout, stderr }: StepOutput) => ({
  stdout: stdout.text,
  stderr: stderr.text,
  stdoutEncoding: stdout.encoding,
  stderrEncoding: stderr.encoding,
  stdoutBytes: stdout.totalBytes,
  stderrBytes: stderr.totalBytes,
  stdoutCutAt: stdout.cutAt,
  stderrCutAt: stderr.cutAt,
  isTruncated: stdout.cutAt !== null || stderr.cutAt !== null,
});

function stepResults(
  spec: JobSpec,
  { report, outputs }: Execution,
  outcome: Outcome,
): StepResult[] {
  return outputs.map((output, index) => {
    const step = report?.steps[index];
    const isDeciding = index === outputs.length - 1 && !(step && endedWell(step));
    const end = isDeciding || step === undefined ? outcome : outcomeOfStep(step);
    return {
      name: spec.steps[index]?.name ?? String(index),
      outcome: end,
      exitCode: exitCodeOf(end),
      ...outputFields(output),
      wallMs: (step?.wallUs ?? 0) / 1000,
      cpuMs: (step?.cpuUs ?? 0) / 1000,
    };
  });
}

function parsedJson(
  stdout: CapturedStream | undefined,
  redact: JobSpec['redact'],
): { json?: unknown; parseJsonError?: string } {
  if (stdout === undefined) return { parseJsonError: 'the program was not started' };
  if (stdout.cutAt !== null) {
    return { parseJsonError: 'stdout was truncated; raise limits.stdoutBytes' };
  }
  if (stdout.encoding === 'base64') return { parseJsonError: 'stdout is not valid UTF-8' };
  if (isTooDeep(stdout.text)) {
    return { parseJsonError: `stdout is nested deeper than ${MAX_JSON_DEPTH}` };
  }
  try {
    const json: unknown = JSON.parse(stdout.text);
    // The text is masked already; only behind an escape can anything have been hidden from that.
    const isMasked = redact.length === 0 || !stdout.text.includes('\\');
    return { json: isMasked ? json : maskStrings(json, redact, performance.now() + MASKED_IN_MS) };
  } catch (error) {
    return { parseJsonError: error instanceof Error ? error.message : String(error) };
  }
}

/** The strings of a document are masked in one go. */
const MASKED_IN_MS = 500;

/** Deeper nesting can be parsed but not printed again: the result as a whole would be lost with it. */
const MAX_JSON_DEPTH = 500;

function isTooDeep(text: string): boolean {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (isInString) {
      if (character === '\\') at++;
      else if (character === '"') isInString = false;
    } else if (character === '"') isInString = true;
    else if (character === '[' || character === '{') depth++;
    else if (character === ']' || character === '}') depth--;
    if (depth > MAX_JSON_DEPTH) return true;
  }
  return false;
}
