/**
 * Watches over a consumer that may fall silent: jobs wait, this worker has room for all it ever has, and is given none. The
 * queue's library leaves a connection that hangs; whatever else keeps it from taking jobs, a worker that lives and takes
 * none looks healthy to everybody else.
 *
 * | state   | meaning                                             | left by                                           |
 * | ------- | --------------------------------------------------- | ------------------------------------------------- |
 * | GIVEN   | it holds jobs, was given some, or none wait         | a look at which that is not so (WAITING)          |
 * | WAITING | jobs wait and none came since then                  | a job (GIVEN), SILENT_MS (a new consumer: RENEWED) |
 * | RENEWED | the same, and its consumer is a new one             | a job (GIVEN), SILENT_MS (the process is given up) |
 */
import type { Log } from '../../shared/log.ts';
import type { Consumer } from './consumer.ts';

const LOOK_MS = 2_000;
/** Far longer than a worker with room ever waits while there are jobs; a new one takes as long again. */
const SILENT_MS = 20_000;
/** Early enough for a heartbeat to tell of it before anything is done about it. */
const SAID_AFTER_MS = SILENT_MS / 2;

export interface WatchdogOptions {
  readonly open: () => Consumer;
  /** How many jobs could be taken. */
  readonly countWaiting: () => Promise<number>;
  readonly onRenewed: () => void;
  /** Ends the process, so that whoever watches over it starts another. */
  readonly abandon: (reason: Error) => void;
  readonly log: Log;
}

type State = 'GIVEN' | 'WAITING' | 'RENEWED';

export class Watchdog implements Pick<Consumer, 'pause' | 'stop'> {
  readonly #options: WatchdogOptions;
  readonly #timer: NodeJS.Timeout;
  #consumer: Consumer;
  #state: State = 'GIVEN';
  #sinceMs = 0;
  #lastGiven = 0;
  #isPaused = false;
  #isStopping = false;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#consumer = options.open();
    let isLooking = false;
    this.#timer = setInterval(() => {
      if (isLooking) return;
      isLooking = true;
      this.#look()
        .catch((error: unknown) => options.log.warn({ err: error }, 'the consumer was not seen'))
        .finally(() => {
          isLooking = false;
        });
    }, LOOK_MS);
  }

  /** Jobs have waited for a while and it was given none. */
  readonly isSilent = (): boolean =>
    this.#state !== 'GIVEN' && performance.now() - this.#sinceMs >= SAID_AFTER_MS;

  readonly pause = (isPaused: boolean): void => {
    this.#isPaused = isPaused;
    this.#consumer.pause(isPaused);
  };

  async stop(): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#timer);
    await this.#consumer.stop();
  }

  async #look(): Promise<void> {
    if (this.#hasWork()) return this.#enter('GIVEN');
    const askedAtMs = performance.now();
    const waiting = await this.#options.countWaiting();
    // With Redis slow or away nobody is given anything, and that is no silence of the consumer.
    const isLate = performance.now() - askedAtMs > LOOK_MS;
    if (waiting === 0 || isLate || this.#hasWork()) return this.#enter('GIVEN');
    if (this.#state === 'GIVEN') return this.#enter('WAITING');
    if (this.#isStopping || performance.now() - this.#sinceMs < SILENT_MS) return;
    if (this.#state === 'WAITING') return this.#renew();
    this.#options.abandon(new Error('Jobs wait, and a new consumer was given none either.'));
  }

  #hasWork(): boolean {
    const { held, given } = this.#consumer.activity();
    const wasGiven = given !== this.#lastGiven;
    this.#lastGiven = given;
    return this.#isPaused || held > 0 || wasGiven;
  }

  async #renew(): Promise<void> {
    const { open, onRenewed, log } = this.#options;
    log.error({ silentMs: SILENT_MS }, 'jobs wait and none comes: the consumer is renewed');
    onRenewed();
    await this.#consumer.stop();
    if (this.#isStopping) return;
    this.#consumer = open();
    this.#lastGiven = 0;
    if (this.#isPaused) this.#consumer.pause(true);
    this.#enter('RENEWED');
  }

  #enter(next: State): void {
    this.#state = next;
    this.#sinceMs = performance.now();
  }
}
