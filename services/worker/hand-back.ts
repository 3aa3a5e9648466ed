/**
 * Which jobs go back into the queue although nothing of them has run, and how long a job that goes back waits before it
 * is in the queue again. Spread: many may come at once.
 */
import { BlobUnreachableError, BlobUnusableError } from './blob-cache.ts';
import { SandboxUnavailableError } from './sandbox/sandbox.ts';

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

/** Failures with which a run ends before its program can have started. */
export const isBeforeRun = (error: unknown): error is Error =>
  error instanceof SandboxUnavailableError ||
  error instanceof BlobUnusableError ||
  error instanceof BlobUnreachableError;
