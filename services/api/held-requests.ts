/**
 * How many requests of one tenant are open at once: those that wait for a job, follow one or send a batch may last for
 * long, and each holds a connection that then nobody else has. And how many over one connection: those that come without
 * waiting for the answers before them would have all their answers in memory at once, whether anybody reads them or not.
 */
import type { Socket } from 'node:net';
import type { FastifyReply } from 'fastify';
import { AppError } from '../../shared/errors.ts';
import { HTTP_LIMITS } from './http-limits.ts';

const RETRY_AFTER_SECONDS = 1;

type Release = () => void;

/** A function that counts a request until it is answered or its connection is gone, and throws where it is one too many. */
export function createHeldRequests(most: number): (tenant: string, reply: FastifyReply) => void {
  const held = new Map<string, number>();
  const connections = new WeakMap<Socket, Set<Release>>();

  const openOn = (socket: Socket): Set<Release> => {
    const known = connections.get(socket);
    if (known !== undefined) return known;
    const open = new Set<Release>();
    connections.set(socket, open);
    // An answer that stands behind others hears nothing of the end of its connection.
    socket.once('close', () => {
      for (const release of open) release();
    });
    return open;
  };

  return (tenant, { raw, request }) => {
    const open = openOn(request.raw.socket);
    refusePast(HTTP_LIMITS.maxPipelined, open.size, 'over one connection');
    const count = held.get(tenant) ?? 0;
    refusePast(most, count, 'at once');
    held.set(tenant, count + 1);
    const release = (): void => {
      if (!open.delete(release)) return;
      const left = (held.get(tenant) ?? 1) - 1;
      if (left > 0) held.set(tenant, left);
      else held.delete(tenant);
    };
    open.add(release);
    raw.once('close', release);
  };
}

function refusePast(most: number, count: number, where: string): void {
  if (count < most) return;
  throw new AppError('TOO_MANY_OPEN_REQUESTS', {
    detail: `expected at most ${most} requests ${where}`,
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  });
}
