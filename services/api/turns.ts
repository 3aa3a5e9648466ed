/** Whose turn it is next in a lane, as far as this process knows: what lets a job go into the queue beside its record. */
import type { Lane } from '../../shared/contract/lane.ts';

/** A tenant that was ahead of its turn is not sent to the front again for so long. */
const AHEAD_MS = 1_000;

/**
 * Which tenants have nothing waiting, as far as this process knows: their next job is the lane's next, whatever the
 * lane's time is. It may err by one job a tenant and process: each answer of Redis says how it was.
 */
export function createTurns() {
  const notBefore = new Map<string, number>();
  const underWay = new Set<string>();
  const nameOf = (lane: Lane, tenant: string): string => `${lane} ${tenant}`;
  return {
    tryFirst(lane: Lane, tenant: string): boolean {
      const name = nameOf(lane, tenant);
      if (underWay.has(name) || Date.now() < (notBefore.get(name) ?? 0)) return false;
      underWay.add(name);
      return true;
    },
    answered: (lane: Lane, tenant: string): boolean => underWay.delete(nameOf(lane, tenant)),
    learn(lane: Lane, tenant: string, ahead: number): void {
      if (ahead > 0) notBefore.set(nameOf(lane, tenant), Date.now() + AHEAD_MS);
    },
  };
}
