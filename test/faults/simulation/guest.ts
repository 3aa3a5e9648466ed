/** What runs in a sandbox here: a guest that speaks the protocol, and a program that does what its job's words say. */
import { CAUSE, FROM_GUEST, KIND, TO_GUEST } from '../../../services/worker/protocol/frame.ts';
import { GuestLostError, GuestSession } from '../../../services/worker/protocol/session.ts';
import {
  done,
  framesOf,
  hello,
  intsOf,
  output,
  started,
  stepEnd,
} from '../../worker/protocol/frames.ts';
import type { Wire } from './wire.ts';
import type { Run, Witness } from './witness.ts';

/** A program as the argv of a job says it: `program <job> <behaviour> <milliseconds>`. */
export type Behaviour =
  | 'exits'
  /** Its sandbox dies with it. */
  | 'kills_guest'
  /** It never ends by itself: its guest ends it at its limit. */
  | 'hangs'
  /** It never ends, and its guest hears nothing any more. */
  | 'deafens_guest'
  /** It ends once so many like it run at the same time: what the milliseconds say. */
  | 'meets';

export const TIMEOUT_MS = 10_000;

export class Guest {
  readonly session: GuestSession;
  readonly closed: Promise<void>;
  readonly #wire: Wire;
  readonly #witness: Witness;
  readonly #worker: string;
  #announceClosed: () => void = () => {};
  #argv: string[] = [];
  #run: Run | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(wire: Wire, witness: Witness, worker: string) {
    this.#wire = wire;
    this.#witness = witness;
    this.#worker = worker;
    this.closed = new Promise((resolve) => {
      this.#announceClosed = resolve;
    });
    this.session = new GuestSession({ write: (bytes: Buffer) => this.#hear(bytes) });
    this.session.receive(hello());
  }

  /** Its process is gone, and the program with it. */
  die(why: string): void {
    clearTimeout(this.#timer);
    if (this.#run !== undefined) this.#witness.ended(this.#run);
    this.session.fail(new GuestLostError(why));
    this.#announceClosed();
  }

  get #behaviour(): Behaviour {
    return this.#argv[2] as Behaviour;
  }

  #hear(bytes: Buffer): boolean {
    for (const { type, payload } of framesOf(bytes)) {
      if (type === TO_GUEST.ARG) this.#argv.push(payload.toString());
      if (type === TO_GUEST.RUN) void this.#start();
      if (type === TO_GUEST.KILL && this.#behaviour !== 'deafens_guest') {
        void this.#report(intsOf(payload)[0] ?? CAUSE.CANCELLED);
      }
    }
    return true;
  }

  async #start(): Promise<void> {
    const [, job = '', behaviour, lastsMs] = this.#argv;
    this.#run = this.#witness.started(job, this.#worker);
    await this.#wire.turn(`guest of ${this.#worker} starts`);
    if (this.#run.endedAtMs !== undefined) return;
    this.session.receive(started(0));
    switch (behaviour as Behaviour) {
      case 'meets':
        return this.#witness.meet(Number(lastsMs), () => void this.#report(CAUSE.NONE));
      case 'deafens_guest':
        return;
      case 'hangs':
        return this.#after(TIMEOUT_MS, () => void this.#report(CAUSE.WALL));
      case 'kills_guest':
        return this.#after(Number(lastsMs), () => this.die('it was killed'));
      case 'exits':
        return this.#after(Number(lastsMs), () => void this.#report(CAUSE.NONE));
      default:
    }
  }

  #after(ms: number, act: () => void): void {
    this.#timer = setTimeout(act, ms);
  }

  /** The program has ended, or was ended by a cause. */
  async #report(cause: number): Promise<void> {
    const run = this.#run;
    if (run === undefined || run.endedAtMs !== undefined) return;
    clearTimeout(this.#timer);
    this.#witness.ended(run);
    await this.#wire.turn(`guest of ${this.#worker} reports`);
    const text = `${run.job} ${run.number}`;
    const end = stepEnd({ cause, kind: KIND.EXITED, stdoutTotal: text.length });
    this.session.receive(Buffer.concat([output(text, FROM_GUEST.STDOUT), end, done()]));
  }
}
