/**
 * How many requests of one tenant are open at once: those that wait for a job, follow one or send a batch may last for
 * long, and each holds a connection that then nobody else has.
 */
import type { FastifyReply } from 'fastify';
import { AppError } from '../../shared/errors.ts';

const RETRY_AFTER_SECONDS = 1;

/** A function that counts a request until its connection is free again, and throws where it is one too many. */
export function createHeldRequests(most: number): (tenant: string, reply: FastifyReply) => void {
  const held = new Map<string, number>();
  return (tenant, { raw }) => {
    const count = held.get(tenant) ?? 0;
    if (count >= most) {
      throw new AppError('TOO_MANY_OPEN_REQUESTS', {
        detail: `expected at most ${most} requests at once`,
        retryAfterSeconds: RETRY_AFTER_SECONDS,
      });
    }
    held.set(tenant, count + 1);
    raw.once('close', () => {
      const left = (held.get(tenant) ?? 1) - 1;
      if (left > 0) held.set(tenant, left);
      else held.delete(tenant);
    });
  };
}
