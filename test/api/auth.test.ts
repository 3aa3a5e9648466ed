import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAuthenticate } from '../../services/api/auth.ts';
import { readTenants } from '../../shared/config/tenants.ts';
import { AppError } from '../../shared/errors.ts';

const TENANTS = readTenants(undefined, 1);
const KEY = 'cfd_0123456789abcdef0123456789abcdef';
const authenticate = createAuthenticate(KEY, TENANTS);

function isRefused(header: string | undefined): boolean {
  try {
    authenticate(header);
    return false;
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect((error as AppError).code).toBe('UNAUTHENTICATED');
    return true;
  }
}

describe('authentication', () => {
  it('takes the key as a bearer, in whatever case the scheme is written', () => {
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      expect(authenticate(`${scheme} ${KEY}`)).toMatchObject({ tenant: 'default' });
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
  ])('refuses %s', (_, header) => {
    expect(isRefused(header)).toBe(true);
  });

  it('refuses every other text, of any length', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 100 }), (text) => {
        if (text !== KEY) expect(isRefused(`Bearer ${text}`)).toBe(true);
      }),
    );
  });

  it('with an empty key lets nobody in', () => {
    const open = createAuthenticate('', TENANTS);
    for (const header of [undefined, '', 'Bearer', 'Bearer ']) expect(() => open(header)).toThrow();
  });
});
