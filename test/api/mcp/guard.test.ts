import { describe, expect, it } from 'vitest';
import { createGuard } from '../../../services/api/mcp/guard.ts';

const guard = (over: object = {}) =>
  createGuard({
    listensOn: '127.0.0.1',
    allowedHosts: ['run.internal', 'other:8080'],
    allowedOrigins: ['https://app.example'],
    publicUrl: undefined,
    ...over,
  });
const takes = (headers: { host?: string; origin?: string }, over: object = {}): boolean => {
  try {
    guard(over).require(headers);
    return true;
  } catch {
    return false;
  }
};

describe('the guard', () => {
  it.each([
    '127.0.0.1',
    '127.0.0.1:1',
    'localhost',
    'LOCALHOST:9',
    '[::1]:3',
    'run.internal:5',
    'other:8080',
  ])('lets the host %s through', (host) => expect(takes({ host })).toBe(true));

  it.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'other:9',
    '10.0.0.1',
    'a@localhost',
    'localhost/x',
    '',
  ])('refuses the host %j', (host) => expect(takes({ host })).toBe(false));

  it('refuses a request without a host', () => expect(takes({})).toBe(false));

  it('where it listens on all addresses takes any address, and no name but those it was told', () => {
    const all = { listensOn: '0.0.0.0' };
    expect(takes({ host: '10.1.2.3:80' }, all)).toBe(true);
    expect(takes({ host: '[fe80::1]:80' }, all)).toBe(true);
    expect(takes({ host: 'evil.example' }, all)).toBe(false);
    expect(takes({ host: 'run.example' }, { ...all, publicUrl: 'https://run.example/' })).toBe(
      true,
    );
  });

  it.each([
    [undefined, true],
    ['https://app.example', true],
    ['https://APP.example', true],
    ['http://app.example', false],
    ['https://app.example.evil.example', false],
    ['null', false],
    ['http://127.0.0.1', false],
  ])('with the origin %s: %s', (origin, expected) => {
    expect(takes({ host: 'localhost', ...(origin === undefined ? {} : { origin }) })).toBe(
      expected,
    );
  });
});
