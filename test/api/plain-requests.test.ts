import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { requirePlain } from '../../services/api/plain-requests.ts';

const judge = (rawHeaders: string[], headers: Record<string, string> = {}): void =>
  requirePlain({ raw: { rawHeaders, headers } as unknown as IncomingMessage });

describe('a request', () => {
  it('with one host and no encoding is taken', () => {
    expect(() => judge(['Host', 'a', 'Accept', 'host'])).not.toThrow();
    expect(() => judge(['Host', 'a'], { 'content-encoding': 'Identity' })).not.toThrow();
  });

  it.each([
    ['Host', 'HOST'],
    ['host', 'Host'],
    ['Host', 'Host'],
  ])('with two hosts (%s, %s) is refused', (one, other) => {
    expect(() => judge([one, 'a', other, 'a'])).toThrow(
      expect.objectContaining({ code: 'REQUEST_INVALID' }),
    );
  });

  it.each(['gzip', 'br', 'identity, gzip', 'x'])('with a body in %s is refused', (encoding) => {
    expect(() => judge(['Host', 'a'], { 'content-encoding': encoding })).toThrow(
      expect.objectContaining({ code: 'MEDIA_TYPE_UNSUPPORTED' }),
    );
  });
});
