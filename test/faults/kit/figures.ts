/** Figures of a row, printed where they were measured: one line, with the row's id. */
import { percentile } from '../../../bench/times.ts';

/** Past the test runner, which would put a heading over each line. */
export const show = (row: string, what: string): void => {
  process.stdout.write(`${row}  ${what}\n`);
};

export const timesLine = (name: string, timesMs: readonly number[], promisedMs: number): string => {
  const [half, most] = [50, 100].map((percent) => Math.round(percentile(timesMs, percent)));
  return `${name}: p50 ${half} ms, most ${most} ms of ${timesMs.length}; promised ${promisedMs} ms`;
};
