/**
 * One conversation with one guest, as the worker sees it.
 *
 * | state     | meaning                                   | entered by           | left by           |
 * | --------- | ----------------------------------------- | -------------------- | ----------------- |
 * | STARTING  | the guest has not spoken                  | construction         | HELLO, failure    |
 * | READY     | the guest waits for a job                 | HELLO                | run(), failure    |
 * | RUNNING   | a job was sent                            | run()                | DONE, failure     |
 * | ENDED     | DONE was read                             | DONE                 | reset(), failure  |
 * | RESETTING | the guest makes the sandbox as new        | reset(), or DONE where it was asked with the job | HELLO, failure |
 * | BROKEN    | the guest is gone or broke the protocol; nothing it says counts | a closed stream, a bad frame | - |
 *
 * A report exists only when DONE was read in order: whatever else happens, `run` rejects. In the same way a sandbox is
 * as new only when HELLO was read: whatever else happens, `reset` rejects, and the sandbox must not be used again.
 */
import type { Duplex } from 'node:stream';
import { Conversation, type GuestJob, type GuestReport } from './conversation.ts';
import { createDecoder, decodeInts, type Frame, ProtocolError } from './decoder.ts';
import { CAUSE, encodeFrame, encodeInts, FROM_GUEST, PROTOCOL_VERSION, TO_GUEST } from './frame.ts';

/** The guest ended or fell silent before its report; says what was known of it. */
export class GuestLostError extends Error {
  override readonly name = 'GuestLostError';
}

type State = 'STARTING' | 'READY' | 'RUNNING' | 'ENDED' | 'RESETTING' | 'BROKEN';

interface Running {
  readonly conversation: Conversation;
  readonly resolve: (report: GuestReport) => void;
  readonly reject: (error: Error) => void;
  readonly resetAfter: boolean;
}

export class GuestSession {
  /** Resolves with the first HELLO; rejects when the guest is gone before. */
  readonly ready: Promise<void>;
  #state: State = 'STARTING';
  #running: Running | undefined;
  #failure: Error | undefined;
  /** A reset that began by itself and that nobody has asked for yet. */
  #resetting: Promise<void> | undefined;
  /** Who waits for HELLO. */
  #announceReady: () => void = () => {};
  #denyReady: (error: Error) => void = () => {};
  readonly #toGuest: Pick<Duplex, 'write'>;
  readonly #decode: (chunk: Buffer) => void;

  constructor(toGuest: Pick<Duplex, 'write'>) {
    this.#toGuest = toGuest;
    this.#decode = createDecoder((frame) => this.#onFrame(frame));
    this.ready = this.#hello();
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
    this.#state = 'BROKEN';
    this.#failure = error;
    this.#denyReady(error);
    this.#running?.reject(error);
    this.#running = undefined;
  }

  /** Sends one encoded job and resolves with the report on it. */
  run(job: GuestJob): Promise<GuestReport> {
    if (this.#state !== 'READY') {
      return Promise.reject(
        this.#failure ?? new GuestLostError(`a job was sent to a guest that is ${this.#state}`),
      );
    }
    this.#state = 'RUNNING';
    const conversation = new Conversation(job, (frame) => this.#toGuest.write(frame));
    return new Promise((resolve, reject) => {
      this.#running = { conversation, resolve, reject, resetAfter: job.resetAfter === true };
      this.#toGuest.write(job.encoded);
    });
  }

  /** Asks the guest to end the job; its report still comes, with what there is. */
  kill(cause: number = CAUSE.CANCELLED): void {
    if (this.#state === 'RUNNING') {
      this.#running?.conversation.killed();
      this.#toGuest.write(encodeFrame(TO_GUEST.KILL, encodeInts(cause)));
    }
  }

  /**
   * Makes the sandbox as new for another job of the same owner. Only after the report, and once for each. The guest
   * bounds what it does; a wait for one that hangs is for the caller to bound.
   */
  reset(): Promise<void> {
    const underWay = this.#resetting;
    this.#resetting = undefined;
    if (underWay !== undefined) return underWay;
    if (this.#state !== 'ENDED') {
      return Promise.reject(
        this.#failure ?? new GuestLostError(`a reset was asked of a guest that is ${this.#state}`),
      );
    }
    this.#state = 'RESETTING';
    const hello = this.#hello();
    this.#toGuest.write(encodeFrame(TO_GUEST.RESET));
    return hello;
  }

  #hello(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#announceReady = resolve;
      this.#denyReady = reject;
    });
  }

  #onFrame(frame: Frame): void {
    switch (this.#state) {
      case 'STARTING':
      case 'RESETTING':
        return this.#onHello(frame);
      case 'RUNNING':
        return this.#onJobFrame(frame, this.#running as Running);
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

  #onJobFrame(frame: Frame, { conversation, resolve, resetAfter }: Running): void {
    const report = conversation.receive(frame);
    if (report === undefined) return;
    this.#state = resetAfter ? 'RESETTING' : 'ENDED';
    this.#resetting = resetAfter ? this.#hello() : undefined;
    this.#resetting?.catch(() => {});
    this.#running = undefined;
    resolve(report);
  }
}
