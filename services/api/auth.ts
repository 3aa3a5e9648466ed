/**
 * Who calls: a bearer key → a caller. The server's own key and those of the file of tenants are known from the start;
 * keys that were made over HTTP, `cfd_<id>_<secret>`, are looked up by their id. What is kept and compared are digests:
 * no timing says anything of a key, and an unknown id is answered as a wrong secret is, after the same steps.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { DEFAULT_TENANT, type Tenants } from '../../shared/config/tenants.ts';
import { SCOPES, type Scope } from '../../shared/contract/policy.ts';
import { AppError } from '../../shared/errors.ts';
import type { ApiKeyRecord } from '../../shared/queue/api-keys.ts';

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

/** What an administrator did, for the audit. */
export interface AdministrativeAct {
  readonly actor: Caller;
  /** Such as `key.revoke`. */
  readonly act: string;
  readonly subject: string;
  readonly detail: object;
}

/** Where keys that were made over HTTP are found. */
export interface KeyLookup {
  find(id: string): Promise<ApiKeyRecord | undefined>;
  /** It has just been let in by. */
  used(id: string): void;
}

/** From the headers `Authorization` and `Cofferdam-Session`; throws an AppError. */
export type Authenticate = (
  authorization: string | undefined,
  session?: string | string[] | undefined,
) => Caller | Promise<Caller>;

/** A longer header is no key of ours, and is not worth hashing. */
const MAX_HEADER_LENGTH = 1024;
const MAX_SESSION_LENGTH = 128;
const SESSION = new RegExp(`^[\\x20-\\x7e]{1,${MAX_SESSION_LENGTH}}$`);
const MADE_KEY = /^cfd_([0-9a-f]{16})_[A-Za-z0-9_-]{43}$/;

/** Of a key that stands in the file of tenants. */
const TENANT_SCOPES: ReadonlySet<Scope> = new Set([
  'exec:run',
  'exec:batch',
  'exec:read',
  'exec:cancel',
]);

const digestOf = (key: string): string => createHash('sha256').update(key).digest('hex');

/** What an unknown key is compared with. */
const NOBODY = digestOf('');

const isSame = (one: string, other: string): boolean =>
  timingSafeEqual(Buffer.from(one), Buffer.from(other));

/** A new key: 64 bits to find it by, 256 to know it by. */
export function makeKey(): { id: string; key: string; digest: string } {
  const id = randomBytes(8).toString('hex');
  const key = `cfd_${id}_${randomBytes(32).toString('base64url')}`;
  return { id, key, digest: digestOf(key) };
}

/** A session's name as a caller asserts it; `field` is where it stood. */
export function parseSession(name: string | string[] | undefined, field: string): string | null {
  if (name === undefined) return null;
  const text = Array.isArray(name) ? name.join(', ') : name;
  if (SESSION.test(text)) return text;
  const came = text.length > MAX_SESSION_LENGTH ? `${text.length} of them` : JSON.stringify(text);
  throw new AppError('REQUEST_INVALID', {
    field,
    detail: `${field}: expected 1 to ${MAX_SESSION_LENGTH} printable ASCII characters; came ${came}`,
  });
}

/** Throws where a caller's key lacks the scope. */
export function requireScope({ scopes }: Caller, scope: Scope): void {
  if (scopes.has(scope)) return;
  const has = scopes.size === 0 ? 'none' : [...scopes].join(', ');
  throw new AppError('FORBIDDEN', {
    detail: `expected a key with the scope ${scope}; the scopes of this one: ${has}`,
  });
}

/** `key` is the server's own, of the default tenant; `tenants` are those of the file. */
export function createAuthenticate(options: {
  key: string;
  tenants: Tenants;
  apiKeys: KeyLookup;
}): Authenticate {
  const fixed = fixedCallers(options.key, options.tenants);

  const madeCaller = async (id: string, digest: string): Promise<Caller> => {
    const record = await options.apiKeys.find(id);
    if (!isSame(digest, record?.digest ?? NOBODY) || record === undefined) {
      throw new AppError('UNAUTHENTICATED');
    }
    // Only who has the key itself learns why it is refused.
    requireInForce(record);
    options.apiKeys.used(id);
    const { tenant, name, scopes } = record;
    return { tenant, grant: id, name, scopes: new Set(scopes), session: null };
  };

  return async (authorization = '', session) => {
    const [, given] =
      authorization.length > MAX_HEADER_LENGTH
        ? []
        : (authorization.match(/^Bearer (\S+)$/i) ?? []);
    if (given === undefined) throw new AppError('UNAUTHENTICATED');
    const digest = digestOf(given);
    const [, id] = given.match(MADE_KEY) ?? [];
    const caller = fixed.get(digest) ?? (id === undefined ? undefined : madeCaller(id, digest));
    if (caller === undefined) throw new AppError('UNAUTHENTICATED');
    return { ...(await caller), session: parseSession(session, 'Cofferdam-Session') };
  };
}

/** Callers by the digests of their keys. */
function fixedCallers(key: string, tenants: Tenants): ReadonlyMap<string, Caller> {
  const callers = new Map<string, Caller>();
  for (const { name, keys } of tenants.values()) {
    for (const one of keys) {
      const digest = digestOf(one);
      const caller = { tenant: name, name: `tenant:${name}`, scopes: TENANT_SCOPES, session: null };
      callers.set(digest, { ...caller, grant: `file-${digest.slice(0, 12)}` });
    }
  }
  return callers.set(digestOf(key), {
    tenant: DEFAULT_TENANT,
    grant: 'server',
    name: 'server',
    scopes: new Set(SCOPES),
    session: null,
  });
}

function requireInForce({ revokedAtMs, expiresAtMs }: ApiKeyRecord): void {
  if (revokedAtMs !== null) {
    throw new AppError('UNAUTHENTICATED', { detail: `the key was revoked at ${iso(revokedAtMs)}` });
  }
  if (expiresAtMs !== null && expiresAtMs <= Date.now()) {
    throw new AppError('UNAUTHENTICATED', { detail: `the key expired at ${iso(expiresAtMs)}` });
  }
}

const iso = (ms: number): string => new Date(ms).toISOString();
