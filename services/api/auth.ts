/** Who calls: a bearer key → a caller. Keys are looked up by their digests, whose timing says nothing of a key. */
import { createHash } from 'node:crypto';
import { DEFAULT_TENANT, type Tenants } from '../../shared/config/tenants.ts';
import { AppError } from '../../shared/errors.ts';

export interface Caller {
  readonly tenant: string;
}

/** A longer header is no key of ours, and is not worth hashing. */
const MAX_HEADER_LENGTH = 1024;

const digest = (text: string): string => createHash('sha256').update(text).digest('base64');

export type Authenticate = (authorization: string | undefined) => Caller;

/** `key` is the server's own, of the default tenant. */
export function createAuthenticate(key: string, tenants: Tenants): Authenticate {
  const callers = new Map<string, Caller>();
  for (const { name, keys } of tenants.values()) {
    for (const one of keys) callers.set(digest(one), { tenant: name });
  }
  callers.set(digest(key), { tenant: DEFAULT_TENANT });
  return (authorization = '') => {
    const [, given] =
      authorization.length > MAX_HEADER_LENGTH
        ? []
        : (authorization.match(/^Bearer (\S+)$/i) ?? []);
    const caller = given === undefined ? undefined : callers.get(digest(given));
    if (caller === undefined) throw new AppError('UNAUTHENTICATED');
    return caller;
  };
}
