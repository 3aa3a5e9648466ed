import { describe, expect, it } from 'vitest';
import { expiryOf, showKeys } from '../../services/cli/keys.ts';
import type { ApiKeyView } from '../../shared/contract/api-key.ts';

const NOW = Date.parse('2030-01-01T00:00:00Z');

describe('--expires', () => {
  it.each([
    ['90s', '2030-01-01T00:01:30.000Z'],
    ['15m', '2030-01-01T00:15:00.000Z'],
    ['12h', '2030-01-01T12:00:00.000Z'],
    ['30d', '2030-01-31T00:00:00.000Z'],
    ['2031-02-03', '2031-02-03T00:00:00.000Z'],
    ['2031-02-03T04:05:06+01:00', '2031-02-03T03:05:06.000Z'],
  ])('%s is %s', (text, time) => {
    expect(expiryOf(text, NOW)).toBe(time);
  });

  it.each(['', 'soon', '0d', '-1d', '1.5h', '30', '30 d', '1w', '99999999d'])(
    '%j is refused, saying what is expected',
    (text) => {
      expect(() => expiryOf(text, NOW)).toThrow(/^expected a time from now such as 30d, .*; came /);
    },
  );
});

describe('keys list', () => {
  const key: ApiKeyView = {
    id: '0123456789abcdef',
    tenant: 'acme',
    name: 'user:ann',
    scopes: ['exec:run', 'exec:read'],
    createdAt: '2029-01-01T00:00:00.000Z',
    expiresAt: null,
    revokedAt: null,
    lastUsedAt: null,
  };

  it('has a line for each key, with what became of it', () => {
    const at = (iso: string): string => `${iso}T00:00:00.000Z`;
    const lines = showKeys(
      [
        key,
        { ...key, expiresAt: at('2030-01-02'), lastUsedAt: at('2029-12-31') },
        { ...key, expiresAt: at('2029-12-31') },
        { ...key, expiresAt: at('2029-12-31'), revokedAt: at('2029-06-01') },
      ],
      NOW,
    ).split('\n');
    expect(lines).toHaveLength(5);
    expect(lines[1]).toMatch(
      /^0123456789abcdef {2}acme {4}user:ann {2}exec:run,exec:read {2}valid +never$/,
    );
    expect(lines[2]).toContain('valid until 2030-01-02');
    expect(lines[2]).toMatch(/2029-12-31T00:00:00.000Z$/);
    expect(lines[3]).toContain('expired 2029-12-31');
    expect(lines[4]).toContain('revoked 2029-06-01');
  });

  it('without any key is its head', () => {
    expect(showKeys([], NOW)).toBe('ID  TENANT  NAME  SCOPES  STATE  LAST USED');
  });
});
