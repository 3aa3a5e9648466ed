/** How long a job that this worker could not finish waits before it is in the queue again. Spread: many may come at once. */

const FIRST_MS = 500;
const MAX_MS = 15_000;
/**
 * What took one sandbox may be taking others, as an engine that is being stopped does: the second start is the last and
 * must not get one of them.
 */
const AFTER_LOSS_MS = 2_000;

const spread = (pauseMs: number): number => pauseMs * (0.5 + Math.random() / 2);

/** After a start that the platform lost. */
export const pauseAfterLossMs = (): number => spread(AFTER_LOSS_MS);

/** After so many times without a sandbox. */
export const pauseWithoutSandboxMs = (tries: number): number =>
  spread(Math.min(FIRST_MS * 2 ** (tries - 1), MAX_MS));
