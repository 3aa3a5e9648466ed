import { describe, expect, it } from 'vitest';
import { compileDuring, during } from '../../../services/api/policy/during.ts';

const holds = (window: object, at: string): boolean =>
  compileDuring(during.parse(window))(Date.parse(at));

describe('a window of time', () => {
  it('begins with its first minute and ends before its last', () => {
    const office = { days: ['mon', 'tue'], from: '09:00', to: '17:00' };
    expect(holds(office, '2026-01-05T08:59:59Z')).toBe(false);
    expect(holds(office, '2026-01-05T09:00:00Z')).toBe(true);
    expect(holds(office, '2026-01-06T16:59:59Z')).toBe(true);
    expect(holds(office, '2026-01-05T17:00:00Z')).toBe(false);
    expect(holds(office, '2026-01-07T12:00:00Z')).toBe(false);
  });

  it('without hours is the whole day, on the clock of its place', () => {
    const monday = { days: ['mon'], timezone: 'Pacific/Auckland' };
    expect(holds(monday, '2026-01-04T11:00:00Z')).toBe(true);
    expect(holds(monday, '2026-01-04T10:59:59Z')).toBe(false);
    expect(holds(monday, '2026-01-05T10:59:59Z')).toBe(true);
    expect(holds(monday, '2026-01-05T11:00:00Z')).toBe(false);
  });

  it('that passes midnight belongs to the day it begins on', () => {
    const night = { days: ['fri'], from: '22:00', to: '06:00' };
    expect(holds(night, '2026-01-09T23:00:00Z')).toBe(true);
    expect(holds(night, '2026-01-10T05:59:00Z')).toBe(true);
    expect(holds(night, '2026-01-10T06:00:00Z')).toBe(false);
    expect(holds(night, '2026-01-09T05:00:00Z')).toBe(false);
    expect(holds(night, '2026-01-10T22:30:00Z')).toBe(false);
  });

  it('follows the clock when it is put forward', () => {
    const early = { from: '02:30', to: '04:00', timezone: 'Europe/Berlin' };
    // On 29 March 2026, 01:59 is followed by 03:00.
    expect(holds(early, '2026-03-29T00:59:00Z')).toBe(false);
    expect(holds(early, '2026-03-29T01:00:00Z')).toBe(true);
    expect(holds(early, '2026-03-29T02:00:00Z')).toBe(false);
    expect(holds(early, '2026-03-28T01:30:00Z')).toBe(true);
  });

  it('holds twice in the hour that the clock repeats', () => {
    const late = { from: '02:00', to: '03:00', timezone: 'Europe/Berlin' };
    // On 25 October 2026, 02:59 in summer time is followed by 02:00.
    expect(holds(late, '2026-10-24T23:59:00Z')).toBe(false);
    expect(holds(late, '2026-10-25T00:30:00Z')).toBe(true);
    expect(holds(late, '2026-10-25T01:30:00Z')).toBe(true);
    expect(holds(late, '2026-10-25T02:00:00Z')).toBe(false);
  });

  it('answers moments in any order', () => {
    const is = compileDuring(during.parse({ from: '09:00', to: '10:00' }));
    const moments = ['2026-01-05T09:30:00Z', '2026-01-05T11:00:00Z', '2026-01-05T09:30:30Z'];
    expect(moments.map((at) => is(Date.parse(at)))).toEqual([true, false, true]);
  });

  it.each([
    [{ timezone: 'Mars/Olympus' }, 'IANA'],
    [{ from: '9:00' }, '09:30'],
    [{ from: '10:00', to: '10:00' }, 'not empty'],
    [{ days: [] }, '>=1'],
  ])('that is none is refused: %j', (window, words) => {
    expect(during.safeParse(window).error?.message).toContain(words);
  });
});
