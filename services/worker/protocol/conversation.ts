/** One job on its way through a guest: the legal order of its frames, the pulled stdin, the report at the end. */
import { decodeInt, decodeInts, type Frame, ProtocolError } from './decoder.ts';
import {
  CAUSE,
  CHUNK_BYTES,
  DONE_FIELDS,
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  KIND,
  SKIPPED,
  STAGE,
  STEP_END_FIELDS,
  TO_GUEST,
} from './frame.ts';

type Named<Names extends readonly string[]> = Readonly<Record<Names[number], number>>;

export type StepReport = Named<typeof STEP_END_FIELDS>;
export type UsageReport = Named<typeof DONE_FIELDS>;

/** What the guest said of a job. */
export interface GuestReport {
  readonly refused: { readonly stage: number; readonly errno: number } | null;
  readonly steps: readonly StepReport[];
  readonly usage: UsageReport;
}

/** Who hears of a running job as it goes. */
export interface GuestSink {
  onStarted(step: number): void;
  onOutput(step: number, stream: 'stdout' | 'stderr', part: 'head' | 'tail', bytes: Buffer): void;
  onArtifact(path: string): void;
  onArtifactData(bytes: Buffer): void;
  onArtifactSkipped(path: string, reason: number): void;
}

/** A step's output, once the step has started and until it has ended. */
const OUTPUT_FRAMES: Readonly<Record<number, readonly ['stdout' | 'stderr', 'head' | 'tail']>> = {
  [FROM_GUEST.STDOUT]: ['stdout', 'head'],
  [FROM_GUEST.STDERR]: ['stderr', 'head'],
  [FROM_GUEST.STDOUT_TAIL]: ['stdout', 'tail'],
  [FROM_GUEST.STDERR_TAIL]: ['stderr', 'tail'],
};

export interface GuestJob {
  /** Every frame from LIMITS to RUN, and perhaps RESET. */
  readonly encoded: Buffer;
  /** The guest was asked with the job to reset after it; only for jobs without stdin. */
  readonly resetAfter?: boolean;
  /** The stdin of each step; null where it has none. */
  readonly stdin: readonly (Buffer | null)[];
  readonly sink: GuestSink;
}

export class Conversation {
  readonly #job: GuestJob;
  readonly #write: (frame: Buffer) => void;
  readonly #steps: StepReport[] = [];
  #refused: GuestReport['refused'] = null;
  #step = -1;
  #isStepOpen = false;
  #stdinSent = 0;
  #isStdinEnded = false;
  #areStepsOver = false;
  #isArtifactOpen = false;
  #isKilled = false;

  constructor(job: GuestJob, write: (frame: Buffer) => void) {
    this.#job = job;
    this.#write = write;
  }

  /** Takes the next frame; the report once it was the last. Throws a ProtocolError on one that is out of order. */
  receive({ type, payload }: Frame): GuestReport | undefined {
    const output = OUTPUT_FRAMES[type];
    if (output !== undefined) {
      this.#job.sink.onOutput(this.#openStep(type), ...output, payload);
      return undefined;
    }
    switch (type) {
      case FROM_GUEST.STARTED:
        this.#onStarted(decodeInts(payload, 1)[0] as number);
        return undefined;
      case FROM_GUEST.WANT:
        this.#onWant(decodeInts(payload, 1)[0] as number, this.#openStep(type));
        return undefined;
      case FROM_GUEST.STEP_END:
        this.#onStepEnd(payload);
        return undefined;
      case FROM_GUEST.REFUSED:
        this.#onRefused(payload);
        return undefined;
      case FROM_GUEST.DONE:
        return this.#onDone(payload);
      default:
        this.#onArtifactFrame({ type, payload });
        return undefined;
    }
  }

  /** From here on the guest may leave steps out. */
  killed(): void {
    this.#isKilled = true;
  }

  #openStep(type: number): number {
    if (!this.#isStepOpen) throw new ProtocolError(`frame ${type} came outside a step`);
    return this.#step;
  }

  #onStarted(step: number): void {
    const isNext = step === this.#step + 1 && step < this.#job.stdin.length;
    if (this.#isStepOpen || this.#refused || this.#areStepsOver || !isNext) {
      throw new ProtocolError(`step ${step} started out of order`);
    }
    this.#step = step;
    this.#isStepOpen = true;
    this.#stdinSent = 0;
    this.#isStdinEnded = false;
    this.#job.sink.onStarted(step);
  }

  /** The guest pulls stdin; no more is sent than it has room for. */
  #onWant(bytes: number, step: number): void {
    const stdin = this.#job.stdin[step];
    if (stdin === null || stdin === undefined) throw new ProtocolError('stdin wanted, none given');
    // It may have asked again before it heard of the end.
    if (this.#isStdinEnded) return;
    const room = Math.min(bytes, CHUNK_BYTES);
    const chunk = stdin.subarray(this.#stdinSent, this.#stdinSent + room);
    this.#stdinSent += chunk.length;
    // The step goes with it: an answer under way when its step ends must not reach the next one.
    if (chunk.length > 0) this.#write(encodeFrame(TO_GUEST.STDIN, encodeInts(step), chunk));
    if (this.#stdinSent === stdin.length) {
      this.#isStdinEnded = true;
      this.#write(encodeFrame(TO_GUEST.STDIN_END, encodeInts(step)));
    }
  }

  #onStepEnd(payload: Buffer): void {
    const report = named(STEP_END_FIELDS, payload);
    if (!this.#isStepOpen || report.step !== this.#step) {
      throw new ProtocolError(`step ${report.step} ended out of order`);
    }
    requireKnown(CAUSE, report.cause);
    requireKnown(KIND, report.kind);
    requireKnown(STAGE, report.stage);
    this.#isStepOpen = false;
    this.#steps.push(report);
    // A step that did not end well is the last.
    const endedWell =
      report.cause === CAUSE.NONE && report.kind === KIND.EXITED && report.code === 0;
    if (!endedWell) this.#areStepsOver = true;
  }

  #onRefused(payload: Buffer): void {
    if (this.#step >= 0 || this.#refused) throw new ProtocolError('REFUSED came after a step');
    const [stage, errno] = decodeInts(payload, 2) as [number, number];
    requireKnown(STAGE, stage);
    this.#refused = { stage, errno };
  }

  #onArtifactFrame({ type, payload }: Frame): void {
    const { sink } = this.#job;
    this.#requireStepsOver(type);
    this.#areStepsOver = true;
    switch (type) {
      case FROM_GUEST.ARTIFACT:
        this.#isArtifactOpen = true;
        return sink.onArtifact(pathOf(payload, 0));
      case FROM_GUEST.ARTIFACT_DATA:
        if (!this.#isArtifactOpen) throw new ProtocolError('content came without its artifact');
        return sink.onArtifactData(payload);
      case FROM_GUEST.ARTIFACT_SKIPPED:
        this.#isArtifactOpen = false;
        return sink.onArtifactSkipped(
          pathOf(payload, 8),
          requireKnown(SKIPPED, decodeInt(payload, 0)),
        );
      default:
        throw new ProtocolError(`frame ${type} came while a job ran`);
    }
  }

  #onDone(payload: Buffer): GuestReport {
    this.#requireStepsOver(FROM_GUEST.DONE);
    return { refused: this.#refused, steps: this.#steps, usage: named(DONE_FIELDS, payload) };
  }

  /** Every step has run, or one was the last, or there was none. */
  #requireStepsOver(type: number): void {
    if (this.#isStepOpen) throw new ProtocolError(`frame ${type} came within a step`);
    const haveAllRun = this.#steps.length === this.#job.stdin.length;
    if (haveAllRun || this.#areStepsOver || this.#isKilled || this.#refused) return;
    throw new ProtocolError(`frame ${type} came before every step had run`);
  }
}

/** A number that only some later version of the guest would send; nothing here knows what it means. */
function requireKnown(table: Readonly<Record<string, number>>, value: number): number {
  if (Object.values(table).includes(value)) return value;
  throw new ProtocolError(`expected one of ${Object.values(table).join(', ')}, came ${value}`);
}

function named<Names extends readonly string[]>(names: Names, payload: Buffer): Named<Names> {
  const values = decodeInts(payload, names.length);
  return Object.fromEntries(names.map((name, index) => [name, values[index]])) as Named<Names>;
}

/** The guest sends names that are UTF-8 only; anything else is not from our guest. */
function pathOf(payload: Buffer, from: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      payload.subarray(from),
    );
  } catch (cause) {
    throw new ProtocolError('an artifact has a name that is not UTF-8', { cause });
  }
}
