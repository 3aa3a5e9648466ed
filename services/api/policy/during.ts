/**
 * When a rule holds: days and hours on the clock of a place. A window that passes midnight belongs to the day it
 * begins on. An hour that the clock skips in spring has no moments; one that it repeats in autumn counts twice.
 */
import { z } from 'zod';

export const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
type Weekday = (typeof WEEKDAYS)[number];

const MINUTE_MS = 60_000;

const clock = z
  .string()
  .regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, 'expected a time such as "09:30", in quotes');

const isTimezone = (name: string): boolean => {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).format(0) !== '';
  } catch {
    return false;
  }
};

export const during = z
  .strictObject({
    days: z
      .array(z.enum(WEEKDAYS))
      .min(1)
      .default([...WEEKDAYS]),
    from: clock.default('00:00'),
    to: clock.default('24:00'),
    timezone: z
      .string()
      .refine(isTimezone, 'expected an IANA time zone such as "Europe/Berlin"')
      .default('UTC'),
  })
  .refine(({ from, to }) => from !== to && from !== '24:00', {
    path: ['from'],
    message: 'expected a window that is not empty',
  });

export type During = z.infer<typeof during>;

interface WallTime {
  readonly weekday: Weekday;
  readonly minute: number;
}

/** The clock of a place moves by whole minutes against UTC: one answer serves a minute. */
function createWallClock(timeZone: string): (nowMs: number) => WallTime {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  let minuteOfLast = Number.NaN;
  let last: WallTime = { weekday: 'sun', minute: 0 };
  return (nowMs) => {
    const minute = Math.floor(nowMs / MINUTE_MS);
    if (minute === minuteOfLast) return last;
    const parts = new Map(format.formatToParts(nowMs).map(({ type, value }) => [type, value]));
    const weekday = parts.get('weekday')?.toLowerCase() as Weekday;
    last = { weekday, minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')) };
    minuteOfLast = minute;
    return last;
  };
}

const minutesOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));

const dayBefore = (weekday: Weekday): Weekday =>
  WEEKDAYS[(WEEKDAYS.indexOf(weekday) + WEEKDAYS.length - 1) % WEEKDAYS.length] ?? 'sun';

export function compileDuring({ days, from, to, timezone }: During): (nowMs: number) => boolean {
  const wallClock = createWallClock(timezone);
  const first = minutesOf(from);
  const end = minutesOf(to);
  const isOn = new Set<Weekday>(days);
  if (first < end) {
    return (nowMs) => {
      const { weekday, minute } = wallClock(nowMs);
      return isOn.has(weekday) && minute >= first && minute < end;
    };
  }
  return (nowMs) => {
    const { weekday, minute } = wallClock(nowMs);
    return (minute >= first && isOn.has(weekday)) || (minute < end && isOn.has(dayBefore(weekday)));
  };
}
