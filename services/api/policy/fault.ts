/** What is wrong in a document, and where. */
import type { z } from 'zod';

export interface Fault {
  /** Dotted; empty for the document as a whole. */
  readonly path: string;
  /** What was expected and what came. */
  readonly reason: string;
}

export const faultsIn = (error: z.ZodError): Fault[] =>
  error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        path: [...issue.path, key].join('.'),
        reason: 'expected no such field',
      }));
    }
    // Of a record, the fault of a key is within.
    const inner = issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined;
    return [{ path: issue.path.join('.'), reason: inner ?? issue.message }];
  });

/** One line for each fault. */
export const showFaults = (faults: readonly Fault[]): string =>
  faults.map(({ path, reason }) => `${path === '' ? 'the document' : path}: ${reason}`).join('\n');
