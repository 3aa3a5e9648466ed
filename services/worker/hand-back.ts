/** What becomes of a job after a start, and for how long one that could not start is out of the queue, with chance in it. */
import { BlobUnreachableError, BlobUnusableError } from './blob-cache.ts';
import { SandboxUnavailableError } from './sandbox/sandbox.ts';

/** What the queue has to do with a job after a start. */
export type Next =
  | { readonly kind: 'ended' }
  /** At once, on this worker. */
  | { readonly kind: 'again' }
  /** Later, on any worker. */
  | { readonly kind: 'hand_back'; readonly afterMs: number };

export const ENDED: Next = { kind: 'ended' };

/** A job for which no sandbox could be made so often is given up. */
export const MAX_HAND_BACKS = 8;
const FIRST_MS = 500;
const MAX_MS = 15_000;
/** A job for another worker would else be taken again by this one at once. */
const ELSEWHERE_MS = 1_000;

const withChance = (ms: number): number => ms * (0.5 + Math.random() / 2);

/** After so many tries that failed. */
export const pauseAfter = (tries: number): number =>
  withChance(Math.min(FIRST_MS * 2 ** (tries - 1), MAX_MS));

/** Where nothing failed, but the job is for a worker that has what it asks for. */
export const pauseForAnother = (): number => withChance(ELSEWHERE_MS);

/** Failures with which a run ends before its program can have started. */
export const isBeforeRun = (error: unknown): error is Error =>
  error instanceof SandboxUnavailableError ||
  error instanceof BlobUnusableError ||
  error instanceof BlobUnreachableError;
