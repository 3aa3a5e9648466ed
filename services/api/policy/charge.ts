/** Between a judgement and its counters: what is charged, and what an approval is asked for. */
import type { Counted } from '../../../shared/queue/reserve.ts';
import type { Reservation } from './judgement.ts';

/** A window that is full cannot wake a job that waits for it: its caller is told when to come back instead. */
export const chargeOf = (reservation: Reservation): Reservation =>
  reservation.kind === 'window' && reservation.onExceed === 'queue'
    ? { ...reservation, onExceed: 'deny' }
    : reservation;

/** The first limit that is used up and asks for an approval then; null where none does. */
export const softlyExceeded = (
  reservations: readonly Reservation[],
  counted: readonly Counted[],
): Reservation | null =>
  reservations.find(
    ({ isShadow, onExceed }, index) =>
      !isShadow &&
      onExceed === 'require_approval' &&
      (counted[index]?.verdict ?? 'fits') !== 'fits',
  ) ?? null;
