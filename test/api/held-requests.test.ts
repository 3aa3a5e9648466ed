import { EventEmitter } from 'node:events';
import type { FastifyReply } from 'fastify';
import { describe, expect, it } from 'vitest';
import { createHeldRequests } from '../../services/api/held-requests.ts';

const aReply = (): FastifyReply => ({ raw: new EventEmitter() }) as unknown as FastifyReply;

describe('the requests of a tenant', () => {
  it('are as many at once as they may be, whatever those of others are', () => {
    const hold = createHeldRequests(2);
    hold('one', aReply());
    hold('one', aReply());
    expect(() => hold('one', aReply())).toThrow(
      expect.objectContaining({ code: 'TOO_MANY_OPEN_REQUESTS' }),
    );
    expect(() => hold('other', aReply())).not.toThrow();
  });

  it('make room when their connection is free, once each', () => {
    const hold = createHeldRequests(1);
    const first = aReply();
    hold('one', first);
    expect(() => hold('one', aReply())).toThrow();
    first.raw.emit('close');
    first.raw.emit('close');
    hold('one', aReply());
    expect(() => hold('one', aReply())).toThrow();
  });
});
