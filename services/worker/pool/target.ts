/** How many sandboxes of a shape to keep ready: more when jobs had to wait, fewer when some were never needed. Pure. */

/** What was asked of a stock in one period. */
export interface Demand {
  readonly leases: number;
  /** Leases that had to wait for a creation. */
  readonly misses: number;
  /** The fewest that were ready at any moment. */
  readonly leastReady: number;
  readonly periodMs: number;
  /** How long a creation takes at present. */
  readonly creationMs: number;
}

export interface Bounds {
  readonly floor: number;
  readonly ceiling: number;
}

/** Of what was never needed in a period, this part goes: a lull must not undo what a burst has taught. */
const SHRINK_PART = 4;

/** At once, for each job that waits: the next burst finds what this one lacked. */
export const targetAfterMiss = (target: number, { ceiling }: Bounds): number =>
  Math.min(target + 1, ceiling);

export function targetAfterPeriod(target: number, demand: Demand, bounds: Bounds): number {
  const isAmple = demand.misses === 0 && demand.leastReady > 0;
  const kept = isAmple ? target - Math.ceil(demand.leastReady / SHRINK_PART) : target;
  // So many leases come while one sandbox is made. Rounded: a job now and then is no reason for a stock.
  const comeMeanwhile = Math.round((demand.leases / demand.periodMs) * demand.creationMs);
  return within(Math.max(kept, comeMeanwhile), bounds);
}

export const within = (target: number, { floor, ceiling }: Bounds): number =>
  Math.min(Math.max(target, floor), ceiling);
