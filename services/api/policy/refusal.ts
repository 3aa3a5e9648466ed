/** Refusals by the policy, each one line that a caller can act on: what, by which rule, why, and what to do. */
import type { PolicyVerdict } from '../../../shared/contract/policy.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Counted } from '../../../shared/queue/reserve.ts';
import type { Reservation } from './judgement.ts';

const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);

const byWhom = (rule: string | null): string =>
  rule === null ? 'by the default' : `by the rule ${rule}`;

export function denied(
  what: string,
  { rule, reason, revision }: { rule: string | null; reason: string; revision: string },
): AppError {
  return new AppError('POLICY_DENIED', {
    detail: `${what} is denied ${byWhom(rule)}: ${sentence(reason)}`,
    policy: {
      decision: 'deny',
      rule,
      reason,
      retryAfterMs: null,
      approvalId: null,
      revision,
    } satisfies PolicyVerdict,
  });
}

/** `retryAfterMs` is when the same call would pass, if nobody else comes. */
export function limited(
  what: string,
  exceeded: { rule: string; reason: string; retryAfterMs: number; revision: string },
): AppError {
  const { rule, reason, retryAfterMs, revision } = exceeded;
  const retryAfterSeconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  return new AppError('LIMIT_EXCEEDED', {
    detail: `${what} is over a limit of the rule ${rule}: ${sentence(reason)} Try again in ${retryAfterSeconds} s.`,
    retryAfterSeconds,
    policy: {
      decision: 'rate_limited',
      rule,
      reason,
      retryAfterMs,
      approvalId: null,
      revision,
    } satisfies PolicyVerdict,
  });
}

/** The refusal of a call that some of its limits do not let through; of the one that lasts longest. */
export function refusalOf(
  what: string,
  {
    reservations,
    counted,
    revision,
  }: { reservations: readonly Reservation[]; counted: readonly Counted[]; revision: string },
): AppError {
  const refusing = reservations.flatMap((reservation, index) => {
    const seen = counted[index];
    const isSoft = reservation.isShadow || reservation.onExceed === 'require_approval';
    return seen === undefined || seen.verdict === 'fits' || isSoft ? [] : [{ reservation, seen }];
  });
  const never = refusing.find(({ seen }) => seen.verdict === 'never');
  if (never !== undefined) {
    const { rule, reason } = never.reservation;
    const reasonInFull = `${reason}; ${neverFits(never.reservation)}`;
    return denied(what, { rule, reason: reasonInFull, revision });
  }
  const last = refusing.reduce((longest, one) =>
    one.seen.retryAfterMs > longest.seen.retryAfterMs ? one : longest,
  );
  const { rule, reason } = last.reservation;
  return limited(what, { rule, reason, retryAfterMs: last.seen.retryAfterMs, revision });
}

function neverFits(reservation: Reservation): string {
  if (reservation.kind === 'concurrency') return 'it has no place at all';
  const { amount, meter, algorithm, burst, max } = reservation;
  const most = algorithm === 'token_bucket' ? burst : max;
  return `this asks for up to ${amount} ${meter}, more than the ${most} that it ever lets through: ask for less`;
}
