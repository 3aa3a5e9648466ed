/**
 * What starts, stops: each part that a process starts is owned here, and parts stop last-in-first-out, each within the
 * time that is left. A failed start stops what had started. A second signal, or the end of the drain, forces.
 */
import closeWithGrace from 'close-with-grace';
import { type Log, written } from './log.ts';

/** On top of the drain: what the parts after the consumer need to stop. */
const STOP_GRACE_MS = 10_000;

export interface Lifecycle {
  /** Registers how a part stops; returns the part. */
  own<T>(name: string, part: T, stop: () => Promise<unknown> | unknown): T;
  /** Stops everything that is owned; concurrent callers share one stop. */
  stop(): Promise<void>;
  /** Stops everything and ends the process with exit code 1: a part that the rest cannot do without is gone. */
  abandon(reason: Error): void;
  /** Stops on SIGTERM, SIGINT or an uncaught error, and ends the process. */
  stopOnSignals(): void;
}

export function createLifecycle(options: { drainMs: number; log: Log }): Lifecycle {
  const { drainMs, log } = options;
  const owned: { name: string; stop: () => Promise<unknown> | unknown }[] = [];
  let stopping: Promise<void> | undefined;

  const stopAll = async (): Promise<void> => {
    for (let part = owned.pop(); part !== undefined; part = owned.pop()) {
      const startedAt = Date.now();
      try {
        await part.stop();
        log.debug({ part: part.name, ms: Date.now() - startedAt }, 'stopped');
      } catch (error) {
        log.error({ part: part.name, err: error }, 'a part did not stop cleanly');
      }
    }
  };

  const stop = (): Promise<void> => {
    stopping ??= stopAll();
    return stopping;
  };

  return {
    own(name, part, stopPart) {
      owned.push({ name, stop: stopPart });
      // It started while everything else stopped: it stops as well.
      if (stopping !== undefined) stopping = stopping.then(stopAll);
      return part;
    },
    stop,
    abandon(reason) {
      // Outside of every promise: an uncaught error, which stopOnSignals ends the process for.
      setImmediate(() => {
        throw reason;
      });
    },
    stopOnSignals() {
      const options = { delay: drainMs + STOP_GRACE_MS, logger: undefined };
      closeWithGrace(options, async ({ signal, err }) => {
        if (err !== undefined) log.error({ err }, 'stopping after an uncaught error');
        else log.info({ signal }, 'stopping');
        await stop();
        log.info('stopped');
        await written(log);
      });
    },
  };
}
