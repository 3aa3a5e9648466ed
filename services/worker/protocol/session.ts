/**
 * One conversation with one guest, as the worker sees it.
 *
 * | state    | meaning                         | entered by                  | left by              |
 * | -------- | ------------------------------- | --------------------------- | -------------------- |
 * | STARTING | the guest has not spoken        | construction                | HELLO, failure       |
 * | READY    | the guest waits for a job       | HELLO                       | run(), failure       |
 * | RUNNING  | a job was sent                  | run()                       | DONE, failure        |
 * | ENDED    | DONE was read                   | DONE                        | -                    |
 * | BROKEN   | the guest is gone or broke the protocol; nothing it says counts | a closed stream, a bad frame | - |
 *
 * A report exists only when DONE was read in order: whatever else happens, `run` rejects.
 */
import type { Duplex } from 'node:stream';
import { createDecoder, decodeInt, decodeInts, type Frame, ProtocolError } from './decoder.ts';
import {
  CAUSE,
  CHUNK_BYTES,
  DONE_FIELDS,
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  PROTOCOL_VERSION,
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

/** The guest ended or fell silent before its report; says what was known of it. */
export class GuestLostError extends Error {
  override readonly name = 'GuestLostError';
}

type State = 'STARTING' | 'READY' | 'RUNNING' | 'ENDED' | 'BROKEN';

interface RunningJob {
  readonly sink: GuestSink;
  readonly stdin: readonly (Buffer | null)[];
  readonly steps: StepReport[];
  readonly resolve: (report: GuestReport) => void;
  readonly reject: (error: Error) => void;
  step: number;
  isStepOpen: boolean;
  stdinSent: number;
  refused: GuestReport['refused'];
  artifactOpen: boolean;
}

export class GuestSession {
  /** Resolves with HELLO; rejects when the guest is gone before. */
  readonly ready: Promise<void>;
  #state: State = 'STARTING';
  #job: RunningJob | undefined;
  #failure: Error | undefined;
  #announceReady: () => void = () => {};
  #denyReady: (error: Error) => void = () => {};
  readonly #toGuest: Pick<Duplex, 'write'>;
  readonly #decode: (chunk: Buffer) => void;

  constructor(toGuest: Pick<Duplex, 'write'>) {
    this.#toGuest = toGuest;
    this.#decode = createDecoder((frame) => this.#onFrame(frame));
    this.ready = new Promise((resolve, reject) => {
      this.#announceReady = resolve;
      this.#denyReady = reject;
    });
    this.ready.catch(() => {});
  }

  get isReady(): boolean {
    return this.#state === 'READY';
  }

  /** Bytes from the guest. Never throws: a broken protocol fails the session. */
  receive(chunk: Buffer): void {
    if (this.#state === 'BROKEN') return;
    try {
      this.#decode(chunk);
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** The stream to the guest is gone, or it must not be believed any more. First cause wins. */
  fail(error: Error): void {
    if (this.#state === 'BROKEN') return;
    const hadEnded = this.#state === 'ENDED';
    this.#state = 'BROKEN';
    this.#failure = error;
    this.#denyReady(error);
    if (!hadEnded) this.#job?.reject(error);
    this.#job = undefined;
  }

  /** Sends one encoded job and resolves with the report on it. */
  run(job: {
    encoded: Buffer;
    stdin: readonly (Buffer | null)[];
    sink: GuestSink;
  }): Promise<GuestReport> {
    if (this.#state !== 'READY') {
      return Promise.reject(
        this.#failure ?? new GuestLostError(`a job was sent to a guest that is ${this.#state}`),
      );
    }
    this.#state = 'RUNNING';
    return new Promise((resolve, reject) => {
      this.#job = {
        sink: job.sink,
        stdin: job.stdin,
        steps: [],
        resolve,
        reject,
        step: -1,
        isStepOpen: false,
        stdinSent: 0,
        refused: null,
        artifactOpen: false,
      };
      this.#toGuest.write(job.encoded);
    });
  }

  /** Asks the guest to end the job; its report still comes, with what there is. */
  kill(cause: number = CAUSE.CANCELLED): void {
    if (this.#state === 'RUNNING') {
      this.#toGuest.write(encodeFrame(TO_GUEST.KILL, encodeInts(cause)));
    }
  }

  /** Lets a guest without a running job go. */
  exit(): void {
    if (this.#state === 'READY' || this.#state === 'ENDED') {
      this.#toGuest.write(encodeFrame(TO_GUEST.EXIT));
    }
  }

  #onFrame(frame: Frame): void {
    switch (this.#state) {
      case 'STARTING':
        return this.#onHello(frame);
      case 'RUNNING':
        return this.#onJobFrame(frame, this.#job as RunningJob);
      case 'READY':
      case 'ENDED':
        throw new ProtocolError(`frame ${frame.type} came in state ${this.#state}`);
      case 'BROKEN':
        return;
      default:
        this.#state satisfies never;
    }
  }

  #onHello({ type, payload }: Frame): void {
    if (type !== FROM_GUEST.HELLO) throw new ProtocolError(`frame ${type} came before HELLO`);
    const [version] = decodeInts(payload, 1);
    if (version !== PROTOCOL_VERSION) {
      throw new ProtocolError(`expected protocol ${PROTOCOL_VERSION}, came ${version}`);
    }
    this.#state = 'READY';
    this.#announceReady();
  }

  #onJobFrame({ type, payload }: Frame, job: RunningJob): void {
    switch (type) {
      case FROM_GUEST.STARTED:
        return this.#onStarted(decodeInts(payload, 1)[0] as number, job);
      case FROM_GUEST.STDOUT:
        return job.sink.onOutput(openStep(job, type), 'stdout', 'head', payload);
      case FROM_GUEST.STDERR:
        return job.sink.onOutput(openStep(job, type), 'stderr', 'head', payload);
      case FROM_GUEST.STDOUT_TAIL:
        return job.sink.onOutput(openStep(job, type), 'stdout', 'tail', payload);
      case FROM_GUEST.STDERR_TAIL:
        return job.sink.onOutput(openStep(job, type), 'stderr', 'tail', payload);
      case FROM_GUEST.WANT:
        return this.#onWant(decodeInts(payload, 1)[0] as number, openStep(job, type), job);
      case FROM_GUEST.STEP_END:
        return onStepEnd(payload, job);
      case FROM_GUEST.ARTIFACT:
        job.artifactOpen = true;
        return job.sink.onArtifact(pathOf(payload, 0));
      case FROM_GUEST.ARTIFACT_DATA:
        if (!job.artifactOpen) throw new ProtocolError('content came without its artifact');
        return job.sink.onArtifactData(payload);
      case FROM_GUEST.ARTIFACT_SKIPPED:
        job.artifactOpen = false;
        return job.sink.onArtifactSkipped(pathOf(payload, 8), decodeInt(payload, 0));
      case FROM_GUEST.REFUSED: {
        if (job.step >= 0 || job.refused) throw new ProtocolError('REFUSED came after a step');
        const [stage, errno] = decodeInts(payload, 2) as [number, number];
        job.refused = { stage, errno };
        return;
      }
      case FROM_GUEST.DONE:
        return this.#onDone(payload, job);
      default:
        throw new ProtocolError(`frame ${type} came while a job ran`);
    }
  }

  #onStarted(step: number, job: RunningJob): void {
    if (job.isStepOpen || job.refused || step !== job.step + 1 || step >= job.stdin.length) {
      throw new ProtocolError(`step ${step} started out of order`);
    }
    job.step = step;
    job.isStepOpen = true;
    job.stdinSent = 0;
    job.sink.onStarted(step);
  }

  /** The guest pulls stdin; no more is sent than it has room for. */
  #onWant(bytes: number, step: number, job: RunningJob): void {
    const stdin = job.stdin[step];
    if (stdin === null || stdin === undefined) throw new ProtocolError('stdin wanted, none given');
    const room = Math.min(bytes, CHUNK_BYTES);
    const chunk = stdin.subarray(job.stdinSent, job.stdinSent + room);
    job.stdinSent += chunk.length;
    // The step goes with it: an answer under way when its step ends must not reach the next one.
    if (chunk.length > 0) this.#toGuest.write(encodeFrame(TO_GUEST.STDIN, encodeInts(step), chunk));
    if (job.stdinSent === stdin.length) {
      this.#toGuest.write(encodeFrame(TO_GUEST.STDIN_END, encodeInts(step)));
    }
  }

  #onDone(payload: Buffer, job: RunningJob): void {
    if (job.isStepOpen) throw new ProtocolError('DONE came within a step');
    if (job.steps.length === 0 && !job.refused) throw new ProtocolError('DONE came without a step');
    const usage = named(DONE_FIELDS, payload);
    this.#state = 'ENDED';
    job.resolve({ refused: job.refused, steps: job.steps, usage });
  }
}

function openStep(job: RunningJob, type: number): number {
  if (!job.isStepOpen) throw new ProtocolError(`frame ${type} came outside a step`);
  return job.step;
}

function onStepEnd(payload: Buffer, job: RunningJob): void {
  const report = named(STEP_END_FIELDS, payload);
  if (!job.isStepOpen || report.step !== job.step) {
    throw new ProtocolError(`step ${report.step} ended out of order`);
  }
  job.isStepOpen = false;
  job.steps.push(report);
}

function named<Names extends readonly string[]>(names: Names, payload: Buffer): Named<Names> {
  const values = decodeInts(payload, names.length);
  return Object.fromEntries(names.map((name, index) => [name, values[index]])) as Named<Names>;
}

/** The guest sends names that are UTF-8 only; anything else is not from our guest. */
function pathOf(payload: Buffer, from: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(payload.subarray(from));
  } catch (cause) {
    throw new ProtocolError('an artifact has a name that is not UTF-8', { cause });
  }
}
