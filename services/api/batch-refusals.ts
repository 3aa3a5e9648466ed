/** Which lines of an upload were refused: the first of them, and how many; or the end of the upload with the first. */
import type { BatchOptions, LineError } from '../../shared/contract/batch.ts';
import { AppError } from '../../shared/errors.ts';

const SHOWN_ERRORS = 100;

export interface Refusals {
  readonly count: number;
  readonly shown: LineError[];
  /** Throws on, unless refused jobs are left out. */
  readonly add: (error: unknown) => undefined;
}

export function createRefusals({ onInvalid = 'reject' }: BatchOptions): Refusals {
  const shown: LineError[] = [];
  let count = 0;
  return {
    get count() {
      return count;
    },
    shown,
    add(error) {
      if (!(error instanceof AppError) || error.line === undefined) throw error;
      if (onInvalid === 'reject') throw error;
      count++;
      if (shown.length >= SHOWN_ERRORS) return;
      const { code, line, field, message } = error;
      shown.push({ line, code, detail: message, ...(field === undefined ? {} : { field }) });
    },
  };
}
