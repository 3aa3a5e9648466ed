/** One seed more, or the very one that failed: how many, which, and what is printed of a failure so that it can be had again. */
import fc from 'fast-check';

/** About a minute of one core. */
const SEEDS = 2_000;

export interface Asked {
  readonly numRuns: number;
  readonly seed?: number;
  readonly path?: string;
}

/** `SIMULATION='{"numRuns":100000}'` for a long run, or as a failure has printed it. */
export const asked = (text = process.env.SIMULATION): Asked => ({
  numRuns: SEEDS,
  ...(JSON.parse(text ?? '{}') as Partial<Asked>),
});

/** Runs the property for each seed; throws what is broken, with the line that runs it again. */
export async function forEachSeed<T>(
  property: fc.IAsyncProperty<T>,
  parameters: Asked,
): Promise<void> {
  const run = await fc.check(property, { ...parameters, endOnFailure: true });
  if (!run.failed) return;
  const again = JSON.stringify({ seed: run.seed, path: run.counterexamplePath });
  throw new Error(
    [
      String(run.errorInstance ?? 'no seed was left to run'),
      `after ${run.numRuns} seeds; the same again:`,
      `SIMULATION='${again}' npx vitest run --project faults test/faults/simulation`,
    ].join('\n'),
    { cause: run.errorInstance },
  );
}
