/** ^C and SIGTERM while a command waits for a server: it ends what it asked for, then itself. A second one ends it at once. */
import { signalNumber } from '../../shared/linux.ts';

/** What the signal is aborted with. */
export class Interrupted extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super('interrupted');
    this.exitCode = exitCode;
  }
}

export interface Interruption {
  readonly signal: AbortSignal;
  /** The exit code of a command that ended for this; undefined while it did not come. */
  exitCode(): number | undefined;
  /** From here on the signals do again what they do to any process. */
  release(): void;
}

export function listenForInterruption(): Interruption {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    exitCode = 128 + (signalNumber(name) ?? 0);
    release();
    controller.abort(new Interrupted(exitCode));
  };
  const release = (): void => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return { signal: controller.signal, exitCode: () => exitCode, release };
}
