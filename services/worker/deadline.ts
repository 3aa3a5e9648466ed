/**
 * Why a running job is to end before its program does: one signal that knows its cause. The guest keeps the job's own
 * limits; what ends here comes from outside of it, and the last resort for a guest that keeps none.
 */

export type EndCause =
  | { readonly kind: 'cancelled'; readonly by: 'caller' | 'operator' }
  /** The guest has not reported by the time at which it must have. */
  | { readonly kind: 'unresponsive' }
  /** Another worker may have the job by now: nothing of it may be written here. */
  | { readonly kind: 'lock_lost' }
  /** The worker stops and cannot wait longer. */
  | { readonly kind: 'draining' };

export interface Deadline {
  readonly signal: AbortSignal;
  /** The first cause; later ones change nothing. */
  readonly cause: EndCause | undefined;
  end(cause: EndCause): void;
  /** Starts the clock of the last resort. */
  startClock(afterMs: number): void;
  clear(): void;
}

export function createDeadline(): Deadline {
  const controller = new AbortController();
  let first: EndCause | undefined;
  let timer: NodeJS.Timeout | undefined;
  const end = (cause: EndCause): void => {
    if (first !== undefined) return;
    first = cause;
    controller.abort(cause);
  };
  return {
    signal: controller.signal,
    get cause() {
      return first;
    },
    end,
    startClock(afterMs) {
      timer = setTimeout(() => end({ kind: 'unresponsive' }), afterMs);
    },
    clear() {
      clearTimeout(timer);
    },
  };
}
