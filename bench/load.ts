/** Many acts, so many at once: how they are made and how their rate is shown. */
import type { Row } from './report.ts';
import { median } from './times.ts';

export const RATE_COLUMNS = ['median /s', 'least', 'most'] as const;

/** Calls `act` for 0, 1, … count - 1, `atOnce` of them at any time; the answers in order. */
export async function inParallel<T>(
  count: number,
  atOnce: number,
  act: (index: number) => Promise<T>,
): Promise<T[]> {
  const answers: T[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      const index = next++;
      answers[index] = await act(index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, lane));
  return answers;
}

/** Acts per second. */
export async function rateOf(
  count: number,
  atOnce: number,
  act: (index: number) => Promise<unknown>,
): Promise<number> {
  const startedAt = performance.now();
  await inParallel(count, atOnce, act);
  return (count / (performance.now() - startedAt)) * 1000;
}

/** Which of some parallelisms is fastest, by one burst of `count` acts each. */
export async function bestParallelism(
  candidates: readonly number[],
  count: number,
  act: (index: number) => Promise<unknown>,
): Promise<number> {
  let best = { atOnce: candidates[0] ?? 1, rate: 0 };
  for (const atOnce of candidates) {
    const rate = await rateOf(count, atOnce, act);
    if (rate > best.rate) best = { atOnce, rate };
  }
  return best.atOnce;
}

export const rateRow = (what: string, rates: readonly number[], note: string): Row => ({
  what,
  cells: [median(rates), Math.min(...rates), Math.max(...rates)],
  note,
});
