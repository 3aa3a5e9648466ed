/**
 * What becomes of a job after a start: which go back into the queue although nothing of them has run, and how long one
 * that goes back waits before it is in the queue again. Spread: many may come at once.
 */
import type { Redis } from 'ioredis';
import { type HandBack, handBackJob } from '../../shared/queue/begin.ts';
import type { SharedClock } from '../../shared/queue/shared-clock.ts';
import { BlobUnreachableError, BlobUnusableError } from './blob-cache.ts';
import { SandboxUnavailableError } from './sandbox/sandbox.ts';

/** What the queue has to do with a job after a start. */
export type Next =
  | { readonly kind: 'ended' }
  /** Later, on any worker. */
  | { readonly kind: 'hand_back'; readonly afterMs: number };

export const ENDED: Next = { kind: 'ended' };

/** Back into the queue, after a pause; ended, where it is not this worker's any more. */
export async function handBack(
  { redis, clock }: { redis: Redis; clock: Pick<SharedClock, 'nowMs'> },
  { afterMs, ...job }: Omit<HandBack, 'backAtMs'> & { afterMs: number },
): Promise<Next> {
  const isBack = await handBackJob(redis, { ...job, backAtMs: clock.nowMs() + afterMs });
  return isBack ? { kind: 'hand_back', afterMs } : ENDED;
}

/** A job for which no sandbox could be made so often is given up. */
export const MAX_HAND_BACKS = 8;
const FIRST_MS = 500;
const MAX_MS = 15_000;
/**
 * What took one sandbox may be taking others, as an engine that is being stopped does: the second start is the last and
 * must not get one of them.
 */
const AFTER_LOSS_MS = 2_000;
/** A job for another worker would else be taken again by this one at once. */
const ELSEWHERE_MS = 1_000;

const spread = (pauseMs: number): number => pauseMs * (0.5 + Math.random() / 2);

/** After a start that the platform lost. */
export const pauseAfterLossMs = (): number => spread(AFTER_LOSS_MS);

/** After so many times without a sandbox. */
export const pauseWithoutSandboxMs = (tries: number): number =>
  spread(Math.min(FIRST_MS * 2 ** (tries - 1), MAX_MS));

/** Where nothing failed, but the job is for a worker that has what it asks for. */
export const pauseForAnotherMs = (): number => spread(ELSEWHERE_MS);

/** Failures with which a run ends before its program can have started. */
export const isBeforeRun = (error: unknown): error is Error =>
  error instanceof SandboxUnavailableError ||
  error instanceof BlobUnusableError ||
  error instanceof BlobUnreachableError;
