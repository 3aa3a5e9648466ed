/** Arguments that several tools have in common. */
import { z } from 'zod';
import { AppError } from '../../../shared/errors.ts';
import { jobId } from '../routes/jobs.ts';

/** Below the minute that clients give an answer by default. */
export const MAX_WAIT_MS = 55_000;
export const DEFAULT_WAIT_MS = 25_000;
const DEFAULT_OUTPUT_CHARS = 8_000;
const MAX_OUTPUT_CHARS = 200_000;

export const waitMs = (fallback: number) =>
  z
    .int()
    .min(0)
    .max(MAX_WAIT_MS)
    .default(fallback)
    .describe('How long to wait before answering with what there is, in milliseconds.');

export const maxOutputChars = z
  .int()
  .min(0)
  .max(MAX_OUTPUT_CHARS)
  .default(DEFAULT_OUTPUT_CHARS)
  .describe('Characters of output in the text: head and tail. structuredContent has all.');

export const oneJobId = z.string().max(64).describe('An id such as job_ and 32 digits.');

export const jobIds = (most: number) => z.array(oneJobId).min(1).max(most);

export const batchId = z.string().max(64).describe('An id such as bat_ and 32 digits.');

/** An id of another form is answered like one that does not exist. */
export function requireJobId(id: string): string {
  if (!jobId.safeParse(id).success) {
    throw new AppError('NOT_FOUND', { detail: `There is no job ${JSON.stringify(id)}.` });
  }
  return id;
}

/** Where a tool takes one of two things, and neither or both came. */
export function exactlyOne(
  args: Readonly<Record<string, unknown>>,
  names: readonly [string, string],
): void {
  const given = names.filter((name) => args[name] !== undefined);
  if (given.length === 1) return;
  throw new AppError('REQUEST_INVALID', {
    detail: `expected exactly one of ${names.join(', ')}; came ${given.length === 0 ? 'none' : 'both'}`,
  });
}
