/**
 * Counters in memory, for the tests that a document brings along: what the real ones mean, written as simply as it can
 * be. Nothing ends and nothing is given back.
 */
import type { Reservation } from './judgement.ts';

type Window = Extract<Reservation, { kind: 'window' }>;

export interface SimulatedCounters {
  /** Charges all of them, or none; answers with the first that had no room. Shadow ones are not counted. */
  readonly reserve: (
    reservations: readonly Reservation[],
    nowMs: number,
  ) => Reservation | undefined;
}

interface Charge {
  readonly atMs: number;
  readonly amount: number;
}

export function createSimulatedCounters(): SimulatedCounters {
  const charges = new Map<string, Charge[]>();
  const chargesOf = ({ counter }: Reservation): readonly Charge[] => charges.get(counter) ?? [];
  const used = (of: Reservation, nowMs: number): number => {
    const all = chargesOf(of);
    if (of.kind === 'concurrency') return all.length;
    return of.algorithm === 'token_bucket' ? tokensOut(of, all, nowMs) : within(of, all, nowMs);
  };
  const hasRoom = (of: Reservation, nowMs: number): boolean =>
    used(of, nowMs) + amountOf(of) <= roomOf(of);
  return {
    reserve: (reservations, nowMs) => {
      const counted = reservations.filter(({ isShadow }) => !isShadow);
      const full = counted.find((one) => !hasRoom(one, nowMs));
      if (full !== undefined) return full;
      for (const one of counted) {
        charges.set(one.counter, [...chargesOf(one), { atMs: nowMs, amount: amountOf(one) }]);
      }
      return undefined;
    },
  };
}

const amountOf = (of: Reservation): number => (of.kind === 'window' ? of.amount : 1);
const roomOf = (of: Reservation): number =>
  of.kind === 'window' && of.algorithm === 'token_bucket' ? of.burst : of.max;

/** Sliding: what was charged less than a window ago. Fixed: since the window began. */
function within(of: Window, charges: readonly Charge[], nowMs: number): number {
  const isWithin = ({ atMs }: Charge): boolean =>
    of.algorithm === 'fixed'
      ? Math.floor(atMs / of.windowMs) === Math.floor(nowMs / of.windowMs)
      : atMs > nowMs - of.windowMs;
  return charges.filter(isWithin).reduce((sum, { amount }) => sum + amount, 0);
}

/** Tokens that are missing from a full bucket: taken out, and put back at `max` in a window. */
function tokensOut(of: Window, charges: readonly Charge[], nowMs: number): number {
  let out = 0;
  let lastMs = charges[0]?.atMs ?? nowMs;
  const refill = (untilMs: number): void => {
    out = Math.max(0, out - ((untilMs - lastMs) * of.max) / of.windowMs);
    lastMs = untilMs;
  };
  for (const { atMs, amount } of charges) {
    refill(atMs);
    out += amount;
  }
  refill(nowMs);
  return out;
}
