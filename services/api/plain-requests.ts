/** Requests that are refused for the way they are sent, before anybody asks what they want. */
import type { FastifyRequest } from 'fastify';
import { AppError } from '../../shared/errors.ts';

export function requirePlain({ raw }: Pick<FastifyRequest, 'raw'>): void {
  // Nothing is ever unpacked: a small body that becomes a large one has no way in.
  if (!/^(identity)?$/i.test(raw.headers['content-encoding'] ?? '')) {
    const detail = 'expected a body without Content-Encoding';
    throw new AppError('MEDIA_TYPE_UNSUPPORTED', { detail });
  }
  // The parser takes the first of several; whoever stands before this server may have taken the last.
  const hosts = raw.rawHeaders.filter((name, at) => at % 2 === 0 && /^host$/i.test(name));
  if (hosts.length > 1) {
    throw new AppError('REQUEST_INVALID', {
      field: 'Host',
      detail: 'expected one host; came more',
    });
  }
}
