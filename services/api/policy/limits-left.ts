/** What the limits of a call have left, as it is shown and recorded; those in shadow are spoken of apart. */
import type { LimitLeft } from '../../../shared/contract/policy-check.ts';
import type { Counted } from '../../../shared/queue/reserve.ts';
import type { Reservation, ShadowVerdict } from './judgement.ts';

type Seen = readonly [Reservation, Counted];

const seen = (reservations: readonly Reservation[], counted: readonly Counted[]): Seen[] =>
  reservations.flatMap((reservation, index): Seen[] => {
    const one = counted[index];
    return one === undefined ? [] : [[reservation, one]];
  });

export const limitsLeft = (
  reservations: readonly Reservation[],
  counted: readonly Counted[],
): LimitLeft[] =>
  seen(reservations, counted)
    .filter(([{ isShadow }]) => !isShadow)
    .map(([reservation, { left, retryAfterMs }]) => ({
      rule: reservation.rule,
      counts: reservation.kind === 'window' ? reservation.meter : 'concurrency',
      max: reservation.max,
      windowMs: reservation.kind === 'window' ? reservation.windowMs : null,
      left,
      retryAfterMs,
    }));

/** What limits in shadow would have refused. */
export const shadowLimits = (
  reservations: readonly Reservation[],
  counted: readonly Counted[],
): ShadowVerdict[] =>
  seen(reservations, counted)
    .filter(([{ isShadow }, { verdict }]) => isShadow && verdict !== 'fits')
    .map(([{ rule, reason }]) => ({ rule, decision: 'rate_limited', reason }));
