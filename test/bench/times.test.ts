import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median, percentile, timeRow } from '../../bench/times.ts';

describe('a percentile', () => {
  it('is the smallest value that so many percent do not exceed', () => {
    const values = [50, 15, 40, 20, 35];
    expect([5, 30, 40, 50, 100].map((percent) => percentile(values, percent))).toEqual([
      15, 20, 20, 35, 50,
    ]);
    expect(median([3, 1, 2])).toBe(2);
  });

  it('is one of the values, and so many percent of them are not above it', () => {
    const some = fc.array(fc.integer(), { minLength: 1 });
    fc.assert(
      fc.property(some, fc.integer({ min: 1, max: 100 }), (values, percent) => {
        const found = percentile(values, percent);
        expect(values).toContain(found);
        const notAbove = values.filter((value) => value <= found).length;
        expect(notAbove / values.length).toBeGreaterThanOrEqual(percent / 100 - 1e-9);
      }),
    );
  });

  it('of nothing is no number, and a row shows it as none', () => {
    expect(percentile([], 50)).toBeNaN();
    expect(timeRow('nothing', []).cells[0]).toBeNaN();
  });
});
