import { describe, expect, it } from 'vitest';
import type { Reservation } from '../../../services/api/policy/judgement.ts';
import { createSimulatedCounters } from '../../../services/api/policy/simulated-counters.ts';

type Window = Extract<Reservation, { kind: 'window' }>;

const of = (over: Partial<Window>): Window => ({
  kind: 'window',
  rule: 'r',
  counter: 'c',
  algorithm: 'sliding',
  max: 2,
  windowMs: 1000,
  burst: 2,
  amount: 1,
  meter: 'calls',
  onExceed: 'deny',
  reason: '',
  isShadow: false,
  ...over,
});

/** Which of these moments are let through. */
function admitted(window: Window, moments: readonly number[]): number[] {
  const counters = createSimulatedCounters();
  return moments.filter((atMs) => counters.reserve([window], atMs) === undefined);
}

describe('a counter in memory', () => {
  it('slides: a place is free a window after it was taken', () => {
    expect(admitted(of({}), [0, 600, 999, 1000, 1500, 1600])).toEqual([0, 600, 1000, 1600]);
  });

  it('begins anew with each fixed window', () => {
    const fixed = of({ algorithm: 'fixed' });
    expect(admitted(fixed, [900, 950, 990, 1000, 1001, 1002])).toEqual([900, 950, 1000, 1001]);
  });

  it('fills a bucket drop by drop, and never beyond its brim', () => {
    const bucket = of({ algorithm: 'token_bucket', burst: 3 });
    expect(admitted(bucket, [0, 0, 0, 0, 499, 500, 9000, 9000, 9000, 9000])).toEqual([
      0, 0, 0, 500, 9000, 9000, 9000,
    ]);
  });

  it('charges all of several or none, and shadow never', () => {
    const counters = createSimulatedCounters();
    const wide = of({ counter: 'wide', max: 3 });
    const narrow = of({ counter: 'narrow', max: 1 });
    const shadow = of({ counter: 'shadow', max: 1, isShadow: true });
    expect(counters.reserve([wide, narrow, shadow], 0)).toBeUndefined();
    expect(counters.reserve([wide, narrow, shadow], 0)?.counter).toBe('narrow');
    expect(counters.reserve([wide, shadow], 0)).toBeUndefined();
    expect(counters.reserve([wide], 0)).toBeUndefined();
    expect(counters.reserve([wide], 0)?.counter).toBe('wide');
  });
});
