import { describe, expect, it } from 'vitest';
import { minutesFor, slopeOf } from '../../bench/slope.ts';

const HOUR_MS = 3_600_000;
const line = (count: number, valueAt: (hours: number, at: number) => number) =>
  Array.from({ length: count }, (_, at) => {
    const hours = at / count;
    return [hours * HOUR_MS, valueAt(hours, at)] as const;
  });

describe('a slope', () => {
  it('of points on a line is that of the line, and sure', () => {
    const slope = slopeOf(line(100, (hours) => 7 + 3 * hours));
    expect(slope.perHour).toBeCloseTo(3);
    expect(slope.within).toBeCloseTo(0);
  });

  it('of points that go up and down is as unsure as they are', () => {
    const slope = slopeOf(line(100, (_, at) => (at % 2 === 0 ? 10 : 20)));
    expect(Math.abs(slope.perHour)).toBeLessThan(slope.within);
    expect(slope.within).toBeGreaterThan(1);
  });

  it('takes longer to be told the less sure it is, and no less than it took', () => {
    expect(minutesFor(1, { perHour: 0, within: 8 }, 10)).toBeCloseTo(40);
    expect(minutesFor(1, { perHour: 0, within: 0.5 }, 10)).toBe(10);
  });
});
