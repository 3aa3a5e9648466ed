/** Who calls: a bearer key → a caller, compared in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { AppError } from '../../shared/errors.ts';

export interface Caller {
  readonly tenant: string;
}

/** A longer header is no key of ours, and is not worth hashing. */
const MAX_HEADER_LENGTH = 1024;

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

export type Authenticate = (authorization: string | undefined) => Caller;

export function createAuthenticate(key: string): Authenticate {
  const expected = digest(key);
  return (authorization = '') => {
    const [, given] =
      authorization.length > MAX_HEADER_LENGTH
        ? []
        : (authorization.match(/^Bearer (\S+)$/i) ?? []);
    if (given === undefined || !timingSafeEqual(digest(given), expected)) {
      throw new AppError('UNAUTHENTICATED');
    }
    return { tenant: 'default' };
  };
}
