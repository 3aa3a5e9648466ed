/** Outcomes of a batch counted, what they come to, and the exit code that follows. */
import { OUTCOME_COUNTS, type OutcomeCount } from '../../../shared/contract/batch.ts';

/** Outcomes, and results that are no longer to be had. */
const COUNTED = [...OUTCOME_COUNTS, 'no_result'] as const;

export type Counted = OutcomeCount | 'no_result';
export type Tally = Record<Counted, number>;

export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
/** At least one job has no verdict: the platform, or somebody, ended it. */
export const EXIT_NO_VERDICT = 125;

const WITHOUT_VERDICT: readonly Counted[] = ['cancelled', 'expired', 'lost', 'no_result'];

export const emptyTally = (): Tally =>
  Object.fromEntries(COUNTED.map((name) => [name, 0])) as Tally;

export const tallyOf = (counts: Readonly<Partial<Tally>>): Tally => ({
  ...emptyTally(),
  ...counts,
});

export const totalOf = (tally: Tally): number =>
  COUNTED.reduce((sum, name) => sum + tally[name], 0);

export const failuresOf = (tally: Tally): number => totalOf(tally) - tally.exited_zero;

/** `refused` jobs were left out of the batch. */
export function exitCodeOf(tally: Tally, refused: number): number {
  if (WITHOUT_VERDICT.some((name) => tally[name] > 0)) return EXIT_NO_VERDICT;
  return failuresOf(tally) > 0 || refused > 0 ? EXIT_FAILED : EXIT_OK;
}

/** One line for each outcome that there is. */
export const showTally = (tally: Tally, refused: number): string =>
  [...COUNTED.map((name) => [name, tally[name]] as const), ['refused', refused] as const]
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `  ${name.padEnd(16)}${String(count).padStart(8)}`)
    .join('\n');
