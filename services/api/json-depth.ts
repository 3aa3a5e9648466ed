/** How deep JSON may be nested: what looks into it, prints it or hashes it goes down step by step, and has only so many. */
import { AppError } from '../../shared/errors.ts';

/** Requests need 6, policies as many as their conditions have levels, twice. */
export const MAX_JSON_DEPTH = 64;

export function isTooDeep(value: unknown, deepest = MAX_JSON_DEPTH): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (deepest === 0) return true;
  const within: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
  return within.some((one) => isTooDeep(one, deepest - 1));
}

export const tooDeep = (): AppError =>
  new AppError('REQUEST_INVALID', {
    detail: `expected JSON nested at most ${MAX_JSON_DEPTH} deep; came more`,
  });
