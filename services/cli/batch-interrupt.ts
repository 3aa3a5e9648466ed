/** ^C while a batch is followed: the first asks to stop, the second ends the process as it would have by itself. */

export interface Interrupt {
  readonly signal: AbortSignal;
  /** Listens no longer. */
  stop(): void;
}

/** 128 and the number of SIGINT. */
export const EXIT_INTERRUPTED = 130;

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

export class Interrupted extends Error {}

export function listenForInterrupt(): Interrupt {
  const controller = new AbortController();
  const stop = (): void => {
    for (const name of SIGNALS) process.off(name, onSignal);
  };
  // With no listener left, the next one ends the process.
  const onSignal = (): void => {
    stop();
    controller.abort(new Interrupted('interrupted'));
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  return { signal: controller.signal, stop };
}
