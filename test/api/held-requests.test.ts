import { EventEmitter } from 'node:events';
import type { FastifyReply } from 'fastify';
import { describe, expect, it } from 'vitest';
import { createHeldRequests } from '../../services/api/held-requests.ts';
import { HTTP_LIMITS } from '../../services/api/http-limits.ts';

const aReply = (socket = new EventEmitter()): FastifyReply =>
  ({ raw: new EventEmitter(), request: { raw: { socket } } }) as unknown as FastifyReply;

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

  it('make room when their connection is gone, though nobody tells those that stood behind others', () => {
    const hold = createHeldRequests(2);
    const socket = new EventEmitter();
    hold('one', aReply(socket));
    hold('one', aReply(socket));
    expect(() => hold('one', aReply())).toThrow();
    socket.emit('close');
    hold('one', aReply());
    hold('one', aReply());
    expect(() => hold('one', aReply())).toThrow();
  });

  it('are few over one connection, which is no bound for those over others', () => {
    const hold = createHeldRequests(1_000);
    const socket = new EventEmitter();
    const replies = Array.from({ length: HTTP_LIMITS.maxPipelined }, () => aReply(socket));
    for (const reply of replies) hold('one', reply);
    expect(() => hold('one', aReply(socket))).toThrow(
      expect.objectContaining({ code: 'TOO_MANY_OPEN_REQUESTS' }),
    );
    hold('one', aReply());
    replies[0]?.raw.emit('close');
    expect(() => hold('one', aReply(socket))).not.toThrow();
  });
});
