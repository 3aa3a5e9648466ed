/** Who calls: a bearer key → a caller. Keys are looked up by their digests, whose timing says nothing of a key. */
import { createHash } from 'node:crypto';
import { DEFAULT_TENANT, type Tenants } from '../../shared/config/tenants.ts';
import { SCOPES, type Scope } from '../../shared/contract/policy.ts';
import { AppError } from '../../shared/errors.ts';

/** Whose jobs, batches and blobs they are. */
export interface Owner {
  readonly tenant: string;
}

export interface Caller extends Owner {
  /** The id of its key: what limits `per: grant` count by, and who must not decide its own approvals. */
  readonly grant: string;
  /** Whom the key was made for, in its maker's words, such as `user:ann@example.com`: what rules name as callers. */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
  /** As the caller asserts it (`Cofferdam-Session`); null without. It only ever adds a counter. */
  readonly session: string | null;
}

/** A longer header is no key of ours, and is not worth hashing. */
const MAX_HEADER_LENGTH = 1024;

/** Of a key that stands in the file of tenants. */
const TENANT_SCOPES: ReadonlySet<Scope> = new Set([
  'exec:run',
  'exec:batch',
  'exec:read',
  'exec:cancel',
]);

const digest = (text: string): string => createHash('sha256').update(text).digest('base64');

export type Authenticate = (authorization: string | undefined) => Caller;

/** `key` is the server's own, of the default tenant. */
export function createAuthenticate(key: string, tenants: Tenants): Authenticate {
  const callers = new Map<string, Caller>();
  for (const { name, keys } of tenants.values()) {
    for (const one of keys) {
      const grant = `file-${digest(one).slice(0, 8)}`;
      const caller = { tenant: name, grant, name: `tenant:${name}`, scopes: TENANT_SCOPES };
      callers.set(digest(one), { ...caller, session: null });
    }
  }
  callers.set(digest(key), {
    tenant: DEFAULT_TENANT,
    grant: 'server',
    name: 'server',
    scopes: new Set(SCOPES),
    session: null,
  });
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
