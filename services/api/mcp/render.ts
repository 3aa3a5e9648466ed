/** A result as a short text for a model: how it ended first, then what it wrote. Whatever is left out is said to be. */
import type { JobResult, Outcome } from '../../../shared/contract/result.ts';

const MIB = 1024 * 1024;
const SHOWN_ARTIFACTS = 20;

/** `maxChars` is for what the program wrote; the words around it come on top. */
export function renderResult(result: JobResult, maxChars: number): string {
  const { outcome } = result;
  if (outcome === null) return handleText(result);
  return [
    endText(outcome, result),
    ...stepLines(result),
    ...outputBlocks(result, maxChars),
    ...artifactLines(result),
    ...(result.parseJsonError === undefined
      ? []
      : [`The output is not JSON: ${result.parseJsonError}.`]),
    `Job ${result.id}.`,
  ].join('\n');
}

/** Not done yet: where to look again. */
export function handleText({ id, state, approvalId }: JobResult): string {
  const again = `job_get {"jobIds": ["${id}"], "waitMs": 25000}`;
  if (state === 'awaiting_approval') {
    const which = approvalId === undefined ? '' : ` (${approvalId})`;
    return `Job ${id} waits for an operator's approval${which}. Once approved it runs by itself: do not send it again, ask with ${again}.`;
  }
  const output = state === 'running' ? ` What it has written so far: job_output.` : '';
  return `Job ${id} is ${state}, not done yet. Ask again with ${again}.${output}`;
}

export function endText(outcome: Outcome, result: JobResult): string {
  const took = `after ${Math.round(result.usage.wallMs)} ms`;
  switch (outcome.kind) {
    case 'exited':
      return `Exit code ${outcome.exitCode} ${took}.`;
    case 'signaled':
      return `Ended by ${outcome.signal} ${took}: the program crashed or killed itself.`;
    case 'timed_out':
      return outcome.limit === 'wall'
        ? `Timed out ${took}: still running at its timeoutMs. Do less, or ask for a larger timeoutMs.`
        : `Timed out ${took}: it used up its processor time (limits.cpuMs). Do less, or ask for more.`;
    case 'out_of_memory':
      return `Out of memory ${took} (peak ${Math.round(result.usage.peakMemoryBytes / MIB)} MiB). Use less, or ask for more with limits.memoryMb.`;
    case 'output_limit':
      return `Ended ${took}: it wrote far more than is kept. Write less, or to a file that \`collect\` names.`;
    case 'could_not_start':
      return couldNotStartText(outcome);
    case 'cancelled':
      return `Cancelled by the ${outcome.by} ${took}.`;
    case 'expired':
      return 'Not run: it waited longer than expiresInMs for its start. Try again later.';
    case 'denied':
      return `Not run: denied by the rule ${JSON.stringify(outcome.rule)}: ${outcome.reason}`;
    case 'lost':
      return `Lost (${outcome.cause}): the platform failed, not the program${result.ran === 'no' ? '; it did not run' : '; it may have run'}.${result.retryable ? ' Send it again.' : ''}`;
    default:
      return outcome satisfies never;
  }
}

function couldNotStartText({ stage, errno }: Extract<Outcome, { kind: 'could_not_start' }>) {
  if (stage === 'setup') return `Not run: the sandbox failed (${errno}). Send it again.`;
  const what = {
    files: 'its files could not be laid out',
    cwd: 'its working folder could not be entered',
    exec: 'the program could not be executed; is it in the image, and executable?',
  }[stage];
  return `Could not start: ${what} (${errno}).`;
}

const stepLines = ({ steps = [] }: JobResult): string[] =>
  steps.map(({ name, outcome, exitCode }) => {
    const end = outcome.kind === 'exited' ? `exit code ${exitCode}` : outcome.kind;
    return `Step ${name}: ${end}.`;
  });

function outputBlocks(result: JobResult, maxChars: number): string[] {
  const { stdout, stderr } = result;
  const half = Math.floor(maxChars / 2);
  // What one stream does not need is the other's.
  const forStderr = Math.max(half, maxChars - stdout.length);
  const forStdout = Math.max(half, maxChars - stderr.length);
  return [...streamBlock(result, 'stdout', forStdout), ...streamBlock(result, 'stderr', forStderr)];
}

function streamBlock(result: JobResult, stream: 'stdout' | 'stderr', maxChars: number): string[] {
  const text = result[stream];
  const total = result[`${stream}Bytes`];
  if (total === 0) return stream === 'stdout' ? ['stdout is empty.'] : [];
  if (result[`${stream}Encoding`] === 'base64') {
    return [`${stream}: ${total} bytes that are not text. job_output has them in base64.`];
  }
  const cutAt = result[`${stream}CutAt`];
  const kept =
    cutAt === null
      ? ''
      : ` (of ${total} bytes written the first and last are kept; nobody has the rest)`;
  const offsetOf = (keptBytes: number): number =>
    cutAt === null || keptBytes <= cutAt ? keptBytes : total - Buffer.byteLength(text) + keptBytes;
  return [`${stream}${kept}:`, cutMiddle(text, maxChars, { id: result.id, stream, offsetOf })];
}

/** Head and tail of a text; what is left out is said, with the call that has it. */
export function cutMiddle(
  text: string,
  maxChars: number,
  {
    id,
    stream,
    offsetOf = (bytes) => bytes,
  }: {
    id: string;
    stream: 'stdout' | 'stderr';
    /** From a place in the kept bytes to the one in all that was written. */
    offsetOf?: (keptBytes: number) => number;
  },
): string {
  if (text.length <= maxChars) return text.replace(/\n$/, '');
  const head = wholeEnd(text.slice(0, Math.ceil(maxChars / 2)));
  const tail = wholeStart(text.slice(text.length - Math.floor(maxChars / 2)));
  const left = text.length - head.length - tail.length;
  const from = offsetOf(Buffer.byteLength(head));
  const rest = `job_output {"jobId": "${id}", "stream": "${stream}", "offsetBytes": ${from}}`;
  return `${head}\n[… ${left} characters left out here; ${rest} has them …]\n${tail}`;
}

const wholeEnd = (text: string): string =>
  /[\ud800-\udbff]$/.test(text) ? text.slice(0, -1) : text;
const wholeStart = (text: string): string => (/^[\udc00-\udfff]/.test(text) ? text.slice(1) : text);

function artifactLines({ id, artifacts, artifactsSkipped }: JobResult): string[] {
  const shown = artifacts.slice(0, SHOWN_ARTIFACTS);
  const more = artifacts.length - shown.length;
  return [
    ...shown.map(({ path, bytes }) => `Artifact ${path}, ${bytes} bytes.`),
    ...(more > 0 ? [`And ${more} artifacts more, in structuredContent.`] : []),
    ...(artifacts.length > 0
      ? [`Read one with job_output {"jobId": "${id}", "artifact": "PATH"}.`]
      : []),
    ...(artifactsSkipped.length > 0
      ? [`${artifactsSkipped.length} files were not kept: ${artifactsSkipped[0]?.reason}.`]
      : []),
  ];
}

/** Ends that the program did not choose: whoever called must not take them for its verdict. */
export const isErrorEnd = ({ outcome }: Pick<JobResult, 'outcome'>): boolean =>
  outcome !== null && outcome.kind !== 'exited';
