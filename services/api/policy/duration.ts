/** Lengths of time as documents write them: a bare number is seconds; `90s`, `30m`, `minute`, `day` say their unit. */
import { z } from 'zod';

const SECOND_MS = 1000;
const UNITS_MS = new Map([
  ['s', SECOND_MS],
  ['m', 60 * SECOND_MS],
  ['h', 3600 * SECOND_MS],
  ['d', 86_400 * SECOND_MS],
  ['second', SECOND_MS],
  ['minute', 60 * SECOND_MS],
  ['hour', 3600 * SECOND_MS],
  ['day', 86_400 * SECOND_MS],
]);

/** A counter is kept for as long as its window: none outlives this. */
const MOST_MS = 31 * 86_400 * SECOND_MS;
const EXPECTED = 'expected seconds as a number, or a text such as "90s", "30m", "hour", "7d"';

function durationOf(written: unknown): number | undefined {
  if (typeof written === 'number') return Math.round(written * SECOND_MS);
  if (typeof written !== 'string') return undefined;
  const [, count = '', unit = ''] = written.match(/^(\d{0,9})([a-z]*)$/) ?? [];
  const unitMs = UNITS_MS.get(unit);
  if (unitMs === undefined || (count === '' && unit.length === 1)) return undefined;
  return (count === '' ? 1 : Number(count)) * unitMs;
}

/** A duration → milliseconds, from `leastMs` to 31 days. */
export const duration = (leastMs: number) =>
  z.unknown().transform((written, context) => {
    const ms = durationOf(written);
    if (ms === undefined || !Number.isFinite(ms)) {
      context.addIssue({ code: 'custom', message: `${EXPECTED}; came ${JSON.stringify(written)}` });
      return z.NEVER;
    }
    if (ms < leastMs || ms > MOST_MS) {
      const message = `expected from ${leastMs / SECOND_MS} s to 31 days; came ${JSON.stringify(written)}`;
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }
    return ms;
  });
