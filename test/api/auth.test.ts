import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createAuthenticate,
  makeKey,
  parseSession,
  requireScope,
} from '../../services/api/auth.ts';
import { readTenants } from '../../shared/config/tenants.ts';
import { AppError } from '../../shared/errors.ts';
import type { ApiKeyRecord } from '../../shared/queue/api-keys.ts';
import { callerOfTenant } from './caller.ts';

const TENANTS = readTenants(undefined, 1);
const KEY = 'cfd_0123456789abcdef0123456789abcdef';
const FILE_KEY = 'k'.repeat(40);
const FILE = new Map([
  ...TENANTS,
  ['acme', { name: 'acme', keys: [FILE_KEY], weight: 1, maxOpenJobs: 1, maxRunningJobs: null }],
]);

const made = makeKey();
const record: ApiKeyRecord = {
  id: made.id,
  tenant: 'acme',
  name: 'user:ann@example.com',
  scopes: ['exec:run', 'exec:read'],
  digest: made.digest,
  createdAtMs: 1,
  expiresAtMs: null,
  revokedAtMs: null,
  lastUsedAtMs: null,
};

/** With these keys made; `asked` are the ids that were looked up, `used` those that let somebody in. */
function having(...records: ApiKeyRecord[]) {
  const asked: string[] = [];
  const used: string[] = [];
  const apiKeys = {
    async find(id: string) {
      asked.push(id);
      return records.find((one) => one.id === id);
    },
    used: (id: string) => void used.push(id),
  };
  return { authenticate: createAuthenticate({ key: KEY, tenants: FILE, apiKeys }), asked, used };
}

const { authenticate } = having(record);

async function refusalOf(header: string | undefined, by = authenticate): Promise<AppError> {
  try {
    await by(header);
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect((error as AppError).code).toBe('UNAUTHENTICATED');
    return error as AppError;
  }
  throw new Error(`let in: ${header}`);
}

describe('authentication', () => {
  it('takes the key as a bearer, in whatever case the scheme is written', async () => {
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      expect(await authenticate(`${scheme} ${KEY}`)).toMatchObject({ tenant: 'default' });
    }
  });

  it.each([
    ['nothing', undefined],
    ['an empty header', ''],
    ['the scheme alone', 'Bearer'],
    ['the scheme and a space', 'Bearer '],
    ['the key alone', KEY],
    ['another scheme', `Basic ${KEY}`],
    ['another scheme in front', `Basic x, Bearer ${KEY}`],
    ['two spaces', `Bearer  ${KEY}`],
    ['a space after', `Bearer ${KEY} `],
    ['a line after', `Bearer ${KEY}\n`],
    ['a key that is a byte short', `Bearer ${KEY.slice(0, -1)}`],
    ['a key that is a byte long', `Bearer ${KEY}0`],
    ['another key of the same length', `Bearer ${KEY.slice(0, -1)}0`],
    ['the key in capitals', `Bearer ${KEY.toUpperCase()}`],
    ['two keys', `Bearer ${KEY},${KEY}`],
    ['a huge header', `Bearer ${'x'.repeat(1_000_000)}`],
    ['a huge header that begins with the key', `Bearer ${KEY}${' '.repeat(2000)}`],
  ])('refuses %s', async (_, header) => {
    await refusalOf(header);
  });

  it('H01 I16 refuses every other text, of any length', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 100 }), async (text) => {
        if (text !== KEY) await refusalOf(`Bearer ${text}`);
      }),
    );
  });

  it('with an empty key lets nobody in', async () => {
    const apiKeys = { find: async () => undefined, used: () => {} };
    const open = createAuthenticate({ key: '', tenants: TENANTS, apiKeys });
    for (const header of [undefined, '', 'Bearer', 'Bearer ']) await refusalOf(header, open);
  });
});

describe('the caller', () => {
  it('of the server’s own key has every scope', async () => {
    const caller = await authenticate(`Bearer ${KEY}`);
    expect(caller).toMatchObject({ tenant: 'default', grant: 'server', name: 'server' });
    for (const scope of ['exec:run', 'policy:approve', 'policy:write', 'admin'] as const) {
      expect(() => requireScope(caller, scope)).not.toThrow();
    }
  });

  it('of a key in the file of tenants runs and reads, and administers nothing', async () => {
    const caller = await authenticate(`Bearer ${FILE_KEY}`);
    expect(caller).toMatchObject({ tenant: 'acme', name: 'tenant:acme' });
    expect(caller.grant).toMatch(/^file-[0-9a-f]{12}$/);
    expect([...caller.scopes]).toEqual(['exec:run', 'exec:batch', 'exec:read', 'exec:cancel']);
  });

  it('of a key that was made has its tenant, its name, its id as the grant, and its scopes', async () => {
    const { authenticate, used } = having(record);
    expect(await authenticate(`Bearer ${made.key}`)).toEqual({
      tenant: 'acme',
      grant: made.id,
      name: 'user:ann@example.com',
      scopes: new Set(['exec:run', 'exec:read']),
      session: null,
    });
    expect(used).toEqual([made.id]);
  });
});

describe('a key that was made', () => {
  const other = makeKey();

  it('is 256 random bits behind an id of its own', () => {
    expect(made.key).toMatch(/^cfd_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
    expect(other.key).not.toBe(made.key);
    expect(other.id).not.toBe(made.id);
    expect(made.digest).not.toContain(made.key.slice(21));
  });

  it('H01 with a wrong secret and with an unknown id is refused in the same words', async () => {
    const { authenticate, used } = having(record);
    const wrong = `cfd_${made.id}_${other.key.slice(21)}`;
    const answers = [wrong, other.key].map((key) => refusalOf(`Bearer ${key}`, authenticate));
    const [wrongSecret, unknownId] = await Promise.all(answers);
    expect(wrongSecret?.message).toBe(unknownId?.message);
    expect(used).toEqual([]);
  });

  it.each([
    ['cut by a character', made.key.slice(0, -1)],
    ['longer by a character', `${made.key}A`],
    ['cut to its id', made.key.slice(0, 20)],
    ['with an id in capitals', made.key.replace(/^cfd_\w{16}/, (text) => text.toUpperCase())],
    ['with an id that names another key of Redis', `cfd_../../../../../.._${'A'.repeat(43)}`],
    ['of nine hundred characters', `cfd_${made.id}_${'A'.repeat(880)}`],
  ])('%s is refused without a look at Redis', async (_, key) => {
    const { authenticate, asked } = having(record);
    await refusalOf(`Bearer ${key}`, authenticate);
    expect(asked).toEqual([]);
  });

  it('H01 that is revoked or has expired says so to who has its secret, and to nobody else', async () => {
    const revoked = having({ ...record, revokedAtMs: 5 }).authenticate;
    const expired = having({ ...record, expiresAtMs: Date.now() }).authenticate;
    const key = `Bearer ${made.key}`;
    expect((await refusalOf(key, revoked)).message).toContain('was revoked at 1970-01-01');
    expect((await refusalOf(key, expired)).message).toContain('expired at');
    const wrong = `Bearer cfd_${made.id}_${other.key.slice(21)}`;
    for (const by of [revoked, expired]) {
      expect((await refusalOf(wrong, by)).message).toBe((await refusalOf(undefined)).message);
    }
  });

  it('is in force until the moment at which it expires', async () => {
    const { authenticate } = having({ ...record, expiresAtMs: Date.now() + 60_000 });
    expect(await authenticate(`Bearer ${made.key}`)).toMatchObject({ grant: made.id });
  });
});

describe('the name of a session', () => {
  it('is as the caller asserts it, and none without the header', async () => {
    expect((await authenticate(`Bearer ${KEY}`, 'a b:1')).session).toBe('a b:1');
    expect((await authenticate(`Bearer ${KEY}`)).session).toBeNull();
  });

  it.each([
    ['none at all', ''],
    ['129', 'x'.repeat(129)],
    ['a line break', 'a\nb'],
    ['other than ASCII', 'é'],
    ['a NUL', '\0'],
  ])('of %s characters is refused', (_, name) => {
    expect(() => parseSession(name, 'Cofferdam-Session')).toThrow(
      /^Cofferdam-Session: expected 1 to 128 printable ASCII characters; came /,
    );
  });

  it('of 128 characters is taken', () => {
    expect(parseSession('~'.repeat(128), 'x')).toHaveLength(128);
  });

  it('says nothing to who has no key', async () => {
    await expect((async () => authenticate('Bearer x', 'bad\n'))()).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
  });
});

describe('a scope that is missing', () => {
  it('is named, beside those that the key has', () => {
    const caller = callerOfTenant('t', { scopes: new Set(['exec:read', 'admin'] as const) });
    expect(() => requireScope(caller, 'exec:run')).toThrow(
      expect.objectContaining({
        code: 'FORBIDDEN',
        message: 'expected a key with the scope exec:run; the scopes of this one: exec:read, admin',
      }),
    );
    expect(() => requireScope({ ...caller, scopes: new Set() }, 'admin')).toThrow(
      /this one: none$/,
    );
  });
});
