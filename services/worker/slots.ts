/**
 * Who runs: so many jobs at once, of which a few more may be interactive ones. Interactive jobs go first. What waits too
 * long is given back, since another worker may have room.
 */
import type { Lane } from '../../shared/contract/lane.ts';

interface Waiter {
  readonly resolve: (isGranted: boolean) => void;
  readonly timer: NodeJS.Timeout;
}

export interface Slots {
  /** True once there is a slot, which is to be released; false when there was none in time. */
  acquire(lane: Lane, withinMs: number): Promise<boolean>;
  release(lane: Lane): void;
}

export function createSlots({ slots, reserved }: { slots: number; reserved: number }): Slots {
  const waiting: Readonly<Record<Lane, Set<Waiter>>> = { interactive: new Set(), bulk: new Set() };
  let free = slots + reserved;
  let freeForBulk = slots;

  const isFree = (lane: Lane): boolean => free > 0 && (lane === 'interactive' || freeForBulk > 0);
  const take = (lane: Lane): void => {
    free--;
    if (lane === 'bulk') freeForBulk--;
  };
  const grant = (lane: Lane): void => {
    for (const waiter of waiting[lane]) {
      if (!isFree(lane)) return;
      take(lane);
      waiting[lane].delete(waiter);
      clearTimeout(waiter.timer);
      waiter.resolve(true);
    }
  };

  return {
    acquire(lane, withinMs) {
      if (isFree(lane)) {
        take(lane);
        return Promise.resolve(true);
      }
      return new Promise((resolve) => {
        const timer = setTimeout(() => {
          waiting[lane].delete(waiter);
          resolve(false);
        }, withinMs);
        const waiter = { resolve, timer };
        waiting[lane].add(waiter);
      });
    },
    release(lane) {
      free++;
      if (lane === 'bulk') freeForBulk++;
      grant('interactive');
      grant('bulk');
    },
  };
}
