/** What every benchmark is, and what it is run with. */
import type { Report } from './report.ts';

export interface Benchmark {
  /** What it shows, for the list of benchmarks. */
  readonly shows: string;
  /** The whole of it, set-up and clean-up included, ends within so much. */
  readonly limitMinutes: number;
  /** It lasts as many minutes as it is told to, on top. */
  readonly isAsLongAsAsked?: true;
  measure(run: Run): Promise<Report>;
}

/** One run of one benchmark. */
export interface Run {
  readonly isQuick: boolean;
  /** How long a benchmark without an end of its own lasts. */
  readonly minutes: number;
  /** Something that was started: it stops when the run is over, however it ends, last first. */
  own<T>(part: T, stop: (part: T) => unknown): T;
}

/** A run, and how everything that it owns is stopped; concurrent callers share one stop. */
export function createRun(options: { isQuick: boolean; minutes: number }): {
  run: Run;
  stop(): Promise<void>;
} {
  const owned: (() => unknown)[] = [];
  let stopping: Promise<void> | undefined;

  const stopAll = async (): Promise<void> => {
    for (let stopPart = owned.pop(); stopPart !== undefined; stopPart = owned.pop()) {
      try {
        await stopPart();
      } catch (error) {
        process.stderr.write(
          `bench: clean-up: ${error instanceof Error ? error.message : error}\n`,
        );
      }
    }
  };
  return {
    run: {
      ...options,
      own(part, stopPart) {
        owned.push(() => stopPart(part));
        // It started while everything else stopped: it stops as well.
        if (stopping !== undefined) stopping = stopping.then(stopAll);
        return part;
      },
    },
    stop() {
      stopping ??= stopAll();
      return stopping;
    },
  };
}
