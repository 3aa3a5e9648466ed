import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createProgress,
  createRate,
  showBar,
  showDuration,
  showResults,
} from '../../../services/cli/batch/progress.ts';

describe('the line of progress', () => {
  it.each([
    [{ done: 0, total: undefined, failures: 0 }, undefined, '0/?'],
    [{ done: 12, total: 100, failures: 1 }, 3, '12/100 · 3.0/s · 1 failed · 30 s left'],
    [{ done: 100, total: 100, failures: 0 }, 3, '100/100 · 3.0/s'],
    [{ done: 5, total: 10, failures: 0 }, 0, '5/10 · 0.0/s'],
  ])('of %o at %s a second', (state, rate, line) => {
    expect(showResults(state, rate)).toBe(line);
  });

  it.each([
    [0.2, '1 s'],
    [61, '1 min 1 s'],
    [7_260, '2 h 1 min'],
  ])('shows %d seconds as %s', (seconds, text) => {
    expect(showDuration(seconds)).toBe(text);
  });

  it('has a bar that is full at the end alone', () => {
    expect(showBar(0, 10)).toBe(`[${'.'.repeat(24)}]`);
    expect(showBar(999, 1000)).toContain('#.]');
    expect(showBar(10, 10)).toBe(`[${'#'.repeat(24)}]`);
    expect(showBar(3, undefined)).toBe(`[${'.'.repeat(24)}]`);
  });
});

describe('the rate', () => {
  it('is that of the last seconds', () => {
    const rate = createRate();
    expect(rate.at(0, 0)).toBeUndefined();
    expect(rate.at(10_000, 1000)).toBe(100);
    expect(rate.at(20_000, 1000)).toBe(50);
    expect(rate.at(30_000, 1010)).toBeLessThan(1);
  });
});

describe('progress on a screen', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const screen = (isBar: boolean, columns = 30) => {
    const written: string[] = [];
    const write = (text: string): void => void written.push(text);
    const progress = createProgress({ screen: { columns, write }, isBar, now: () => Date.now() });
    return { written, progress };
  };

  it('redraws one line of a terminal, within its width, and clears it for a note and at the end', () => {
    const { written, progress } = screen(true);
    progress.following({ done: 1, total: 2, failures: 0 });
    vi.advanceTimersByTime(200);
    expect(written).toEqual([`\r${`${showBar(1, 2)} 1/2`.slice(0, 29)}\x1b[K`]);
    progress.note('by the way');
    expect(written[1]).toBe('\r\x1b[Kby the way\n');
    progress.stop();
    expect(written.at(-1)).toBe('\r\x1b[K');
    vi.advanceTimersByTime(1000);
    expect(written.at(-1)).toBe('\r\x1b[K');
  });

  it('writes a plain line every few seconds elsewhere, and none that says the same', () => {
    const { written, progress } = screen(false);
    progress.uploading(2_000_000, undefined);
    vi.advanceTimersByTime(20_000);
    expect(written).toEqual(['cofferdam: uploading: 2.0 MB\n']);
    progress.uploading(5_000_000, 4_500_000);
    vi.advanceTimersByTime(5_000);
    expect(written[1]).toBe('cofferdam: uploading: 4.5 of 4.5 MB\n');
    progress.stop();
  });
});
