import { afterEach, expect, it, vi } from 'vitest';
import { steadyNowMs } from '../../shared/steady-clock.ts';

afterEach(() => void vi.useRealTimers());

it('The steady clock tells the time of day, and goes on from there when that is set', () => {
  expect(Math.abs(steadyNowMs() - Date.now())).toBeLessThan(1_000);
  const before = steadyNowMs();
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });
  expect(Date.now() - before).toBeGreaterThan(3_500_000);
  expect(steadyNowMs() - before).toBeGreaterThanOrEqual(0);
  expect(steadyNowMs() - before).toBeLessThan(10_000);
});
