/**
 * One gate for everything that is heavy for the engine: past a few creations and removals at once it only gets slower.
 * Sandboxes that a job waits for go first, then the stock, then removals, which nobody waits for. But every sandbox
 * that is made has to be removed: once more than a few removals wait, every other call is one, so that under load
 * that does not end neither they nor the uids they hold pile up.
 */
import PQueue, { type QueueAddOptions } from 'p-queue';

/** So many removals may wait before they get every other turn. */
const PATIENT_REMOVALS = 4;

type Kind = 'job' | 'stock' | 'removal';
type Call = () => Promise<unknown>;

interface Turn extends QueueAddOptions {
  readonly kind?: Kind;
}

/** The order of the calls; p-queue asks it for the next whenever one has ended. */
class Turns {
  readonly #waiting: Record<Kind, Call[]> = { job: [], stock: [], removal: [] };
  #wasRemoval = false;

  get size(): number {
    return Object.values(this.#waiting).reduce((sum, calls) => sum + calls.length, 0);
  }

  enqueue(call: Call, options?: Turn): void {
    this.#waiting[options?.kind ?? 'removal'].push(call);
  }

  dequeue(): Call | undefined {
    const { job, stock, removal } = this.#waiting;
    const isRemovalsTurn = removal.length > PATIENT_REMOVALS && !this.#wasRemoval;
    const calls = isRemovalsTurn ? removal : [job, stock].find(({ length }) => length > 0);
    this.#wasRemoval = calls === undefined || isRemovalsTurn;
    return (calls ?? removal).shift();
  }

  filter(options: Turn): Call[] {
    return this.#waiting[options.kind ?? 'removal'];
  }

  setPriority(): never {
    throw new Error('The turns at the gate follow from the kind of call alone.');
  }
}

export interface EngineGate {
  create<T>(isAwaited: boolean, make: () => Promise<T>): Promise<T>;
  remove<T>(remove: () => Promise<T>): Promise<T>;
  onIdle(): Promise<void>;
}

export function createGate(atOnce: number): EngineGate {
  const queue = new PQueue<Turns, Turn>({ concurrency: atOnce, queueClass: Turns });
  return {
    create: (isAwaited, make) => queue.add(make, { kind: isAwaited ? 'job' : 'stock' }),
    remove: (remove) => queue.add(remove, { kind: 'removal' }),
    onIdle: () => queue.onIdle(),
  };
}
