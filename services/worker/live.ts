/**
 * The output of one start for those who follow it. It copies nothing of its own: it is a place in what was captured, and
 * what lies behind that place goes to Redis, one write at a time. A Redis that is slow or away so slows neither the job nor
 * grows anything, it only falls behind; what was never sent is in the stored result.
 *
 * | state  | meaning                                | in                                        | out             |
 * | ------ | -------------------------------------- | ----------------------------------------- | --------------- |
 * | IDLE   | nobody has followed this start so far  | construction                              | open(), close() |
 * | OPEN   | what is captured goes out              | open()                                    | all of CLOSED's |
 * | CLOSED | nothing goes out any more              | close(), a refused or failed write, a cut | -               |
 */
import type { Redis } from 'ioredis';
import type { JobSpec } from '../../shared/contract/spec.ts';
import type { Log } from '../../shared/log.ts';
import type { JobRecord } from '../../shared/queue/job-record.ts';
import { appendLive, dropLive, type LivePiece } from '../../shared/queue/live.ts';
import { brokenEnd } from '../../shared/utf8.ts';
import type { OutputWatcher, StepCaptures } from './execution.ts';

/** What comes within so long goes out together: a flood of single bytes costs as little as one of large pieces. */
const GATHER_MS = 25;
/** Of one stream in one write. */
const PIECE_BYTES = 65_536;
const STREAMS = ['stdout', 'stderr'] as const;

export class LiveOutput implements OutputWatcher {
  readonly #options: { redis: Redis; id: string; start: number; keepMs: number; log: Log };
  #state: 'IDLE' | 'OPEN' | 'CLOSED' = 'IDLE';
  #steps: readonly StepCaptures[] = [];
  /** The step that is being sent, and the offsets up to which it was. */
  #step = 0;
  #sent = { stdout: 0, stderr: 0 };
  #timer: NodeJS.Timeout | undefined;
  #isWriting = false;

  /** `keepMs`: how long after the last write the list may be needed, should this worker die. */
  constructor(options: { redis: Redis; id: string; start: number; keepMs: number; log: Log }) {
    this.#options = options;
  }

  /** Somebody follows: what was captured so far goes out, and whatever comes. */
  open(): void {
    if (this.#state !== 'IDLE') return;
    this.#state = 'OPEN';
    this.#gather();
  }

  onOutput(steps: readonly StepCaptures[]): void {
    this.#steps = steps;
    this.#gather();
  }

  /** The result is out: nobody needs the list any more. */
  close(): void {
    const { redis, id, start, log } = this.#options;
    const wasIdle = this.#state === 'IDLE';
    this.#state = 'CLOSED';
    clearTimeout(this.#timer);
    if (wasIdle) return;
    dropLive(redis, { id, start }).catch((error: unknown) =>
      log.debug({ err: error, job: id }, 'live output left to its expiry'),
    );
  }

  #gather(): void {
    if (this.#state !== 'OPEN' || this.#isWriting) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#write();
    }, GATHER_MS);
  }

  async #write(): Promise<void> {
    const pieces = this.#next();
    if (pieces.length === 0) return;
    const { redis, id, start, keepMs, log } = this.#options;
    this.#isWriting = true;
    try {
      if (!(await appendLive(redis, { id, start, keepMs, pieces }))) this.#state = 'CLOSED';
    } catch (error) {
      this.#state = 'CLOSED';
      log.debug({ err: error, job: id }, 'live output ends here; the rest is in the result');
    }
    this.#isWriting = false;
    this.#gather();
  }

  /** What goes out next, and the place moves behind it. */
  #next(): LivePiece[] {
    const pieces = STREAMS.flatMap((stream) => this.#nextOf(stream));
    const isOver = this.#step < this.#steps.length - 1;
    if (pieces.length > 0 || !isOver || this.#state === 'CLOSED') return pieces;
    this.#step++;
    this.#sent = { stdout: 0, stderr: 0 };
    return this.#next();
  }

  #nextOf(stream: 'stdout' | 'stderr'): LivePiece[] {
    const step = this.#step;
    const capture = this.#steps[step]?.[stream];
    if (capture === undefined) return [];
    const isOver = step < this.#steps.length - 1;
    if (isOver && capture.isFull) {
      // Where bytes are missing, and which are kept around that place, is known at the end of the job.
      this.#state = 'CLOSED';
      return [];
    }
    const offset = this.#sent[stream];
    // The tail of a running step has no place yet: bytes may be missing before it.
    const left = (isOver ? capture.keptBytes : capture.headBytes) - offset;
    const taken = capture.read(offset, Math.min(left, PIECE_BYTES));
    const isLast = isOver && taken.length === left;
    const bytes = isLast ? taken : taken.subarray(0, taken.length - brokenEnd(taken));
    if (bytes.length === 0) return [];
    this.#sent[stream] = offset + bytes.length;
    return [{ step, stream, offset, bytes }];
  }
}

/** The outputs of the jobs that run here, for whoever hears that one is followed. */
export class LiveOutputs {
  readonly #options: { redis: Redis; log: Log };
  readonly #running = new Map<string, LiveOutput>();

  constructor(options: { redis: Redis; log: Log }) {
    this.#options = options;
  }

  /** For one start, from its beginning until it is closed; open already where somebody follows. */
  watch(
    id: string,
    { start, record }: { start: number; record: JobRecord },
    { redact }: Pick<JobSpec, 'redact'>,
  ): OutputWatcher & { close(): void } {
    // A secret may come in two pieces: what is to be masked is seen once it is whole, in the result.
    if (redact.length > 0) return { onOutput: () => {}, close: () => {} };
    const output = new LiveOutput({ ...this.#options, id, start, keepMs: record.budgetMs });
    this.#running.set(id, output);
    if (record.followed !== undefined) output.open();
    return {
      onOutput: (steps) => output.onOutput(steps),
      close: () => {
        output.close();
        if (this.#running.get(id) === output) this.#running.delete(id);
      },
    };
  }

  /** Lets the output of a job be seen, if it runs here. */
  follow(id: string): void {
    this.#running.get(id)?.open();
  }
}
