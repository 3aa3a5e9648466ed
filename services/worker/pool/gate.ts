/**
 * One gate for everything that is heavy for the engine: past a few creations and removals at once it only gets slower.
 * Sandboxes that a job waits for go first, then the stock, then removals, which nobody waits for.
 */
import PQueue from 'p-queue';

const PRIORITY = { job: 2, stock: 1, removal: 0 } as const;

export interface EngineGate {
  create<T>(isAwaited: boolean, make: () => Promise<T>): Promise<T>;
  remove<T>(remove: () => Promise<T>): Promise<T>;
  onIdle(): Promise<void>;
}

export function createGate(atOnce: number): EngineGate {
  const queue = new PQueue({ concurrency: atOnce });
  return {
    create: (isAwaited, make) =>
      queue.add(make, { priority: isAwaited ? PRIORITY.job : PRIORITY.stock }),
    remove: (remove) => queue.add(remove, { priority: PRIORITY.removal }),
    onIdle: () => queue.onIdle(),
  };
}
