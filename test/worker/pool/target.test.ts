import { describe, expect, it } from 'vitest';
import {
  type Demand,
  targetAfterMiss,
  targetAfterPeriod,
} from '../../../services/worker/pool/target.ts';

const bounds = { floor: 2, ceiling: 12 };
const quiet: Demand = { leases: 0, misses: 0, leastReady: 0, periodMs: 5000, creationMs: 200 };

describe('the target of a stock, after a lease that had to wait', () => {
  it.each([
    [0, 1],
    [2, 3],
    [11, 12],
    [12, 12],
  ])('grows by one, up to the ceiling: %i → %i', (before, after) => {
    expect(targetAfterMiss(before, bounds)).toBe(after);
  });
});

describe('the target of a stock, after a period', () => {
  it.each<[string, number, Partial<Demand>, number]>([
    [
      'stays where jobs waited, however many were ready at last',
      8,
      { misses: 1, leastReady: 3 },
      8,
    ],
    ['stays where the last one ready was taken', 8, { leases: 8, leastReady: 0 }, 8],
    ['shrinks by a quarter of what was never needed', 12, { leastReady: 8 }, 10],
    ['shrinks by one at least', 8, { leastReady: 1 }, 7],
    ['shrinks to the floor and no further', 2, { leastReady: 2 }, 2],
    ['grows to what is leased while one is made', 2, { leases: 100, leastReady: 0 }, 4],
    ['grows with what a creation takes', 2, { leases: 100, creationMs: 400 }, 8],
    ['grows to the ceiling and no further', 2, { leases: 1000, creationMs: 2000 }, 12],
    ['is not moved by a job now and then', 0, { leases: 3 }, 2],
    ['is raised to a floor that was raised', 0, {}, 2],
  ])('%s', (_, before, demand, after) => {
    expect(targetAfterPeriod(before, { ...quiet, ...demand }, bounds)).toBe(after);
  });

  it('is nothing without a floor and without jobs', () => {
    const none = { floor: 0, ceiling: 12 };
    let target = 12;
    for (let period = 0; period < 20; period++) {
      target = targetAfterPeriod(target, { ...quiet, leastReady: target }, none);
    }
    expect(target).toBe(0);
  });
});
