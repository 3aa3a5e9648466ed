/** The header that makes a submission safe to repeat. */
import { z } from 'zod';
import { AppError } from '../../../shared/errors.ts';

const MAX_LENGTH = 255;

export const idempotencyHeader = z.looseObject({
  'idempotency-key': z
    .string()
    .optional()
    .describe(
      'The same key with the same request answers with what it made before, for a day at least.',
    ),
});

export function idempotencyKeyOf(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const key = Array.isArray(header) ? header.join(',') : header;
  if (key.length === 0 || key.length > MAX_LENGTH) {
    throw new AppError('REQUEST_INVALID', {
      field: 'Idempotency-Key',
      detail: `Idempotency-Key: expected 1 to ${MAX_LENGTH} characters; came ${key.length}`,
    });
  }
  return key;
}
