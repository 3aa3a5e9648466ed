/** Times of the same act, again and again: how they are taken and how they are shown. */
import type { Row } from './report.ts';

export const TIME_COLUMNS = ['p50 ms', 'p95 ms', 'p99 ms', 'max ms'] as const;

export async function timeOf(act: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await act();
  return performance.now() - startedAt;
}

/** The smallest value that so many percent of the values do not exceed (nearest rank). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => percentile(values, 50);

export const timeRow = (what: string, times: readonly number[], note = ''): Row => ({
  what,
  cells: [...[50, 95, 99].map((percent) => percentile(times, percent)), Math.max(...times)],
  note,
});
