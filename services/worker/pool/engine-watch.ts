/**
 * Whether the engine answers at all. It is asked every few seconds. One that was silent twice in a row is left alone:
 * calls that would only wait for it fail at once, and it is asked again after pauses that grow, until it answers.
 *
 * | state    | meaning                                      | entered by                            |
 * | -------- | -------------------------------------------- | ------------------------------------- |
 * | ANSWERS  | calls go through                             | the start, an answer                  |
 * | SILENT   | no call is made but the question             | SILENCES questions without an answer  |
 *
 * An engine that answers but makes no sandboxes is another matter: see Stocks.areFailing.
 */
import type { Log } from '../../../shared/log.ts';
import { type SandboxEngine, SandboxUnavailableError } from '../sandbox/sandbox.ts';
import { type Backoff, createBackoff } from './backoff.ts';

const ASK_MS = 3_000;
/** One may be lost to a restart that takes a moment. */
const SILENCES = 2;

export type EngineVoice = 'ANSWERS' | 'SILENT';

export class EngineWatch {
  readonly #engine: Pick<SandboxEngine, 'ping'>;
  readonly #log: Log;
  readonly #askMs: number;
  readonly #backoff: Backoff = createBackoff();
  readonly #listeners: (() => void)[] = [];
  #voice: EngineVoice = 'ANSWERS';
  #silences = 0;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: { engine: Pick<SandboxEngine, 'ping'>; log: Log; askMs?: number }) {
    this.#engine = options.engine;
    this.#log = options.log;
    this.#askMs = options.askMs ?? ASK_MS;
  }

  readonly isSilent = (): boolean => this.#voice === 'SILENT';

  /** Whoever has to act on a change; called after it. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  start(): void {
    this.#askIn(this.#askMs);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #askIn(ms: number): void {
    if (!this.#isStopped) this.#timer = setTimeout(() => void this.#ask(), ms).unref();
  }

  async #ask(): Promise<void> {
    try {
      await this.#engine.ping();
      this.#silences = 0;
      this.#backoff.succeed();
      this.#become('ANSWERS');
      this.#askIn(this.#askMs);
    } catch (error) {
      this.#silences++;
      if (this.#silences >= SILENCES) this.#become('SILENT', error);
      this.#askIn(this.#backoff.fail());
    }
  }

  #become(voice: EngineVoice, error?: unknown): void {
    if (voice === this.#voice) return;
    this.#voice = voice;
    if (voice === 'SILENT') this.#log.error({ err: error }, 'the engine does not answer');
    else this.#log.warn('the engine answers again');
    for (const listener of this.#listeners) listener();
  }
}

/** The engine as long as it answers; a creation is refused earlier (engine-state.ts), before it has cost a uid. */
export function guarded(
  engine: SandboxEngine,
  watch: Pick<EngineWatch, 'isSilent'>,
): SandboxEngine {
  const whileItAnswers = async <T>(call: () => Promise<T>): Promise<T> => {
    if (watch.isSilent()) throw new SandboxUnavailableError('the engine does not answer');
    return call();
  };
  return {
    ...engine,
    update: (...change) => whileItAnswers(() => engine.update(...change)),
    remove: (nonce) => whileItAnswers(() => engine.remove(nonce)),
    list: () => whileItAnswers(() => engine.list()),
  };
}
