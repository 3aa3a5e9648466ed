/**
 * A request that lasts, to follow a job or to send one job after another, was let in once, when it began. Its key is looked
 * at again for as long as it lasts: one that was revoked, or is over, ends what it let in.
 */
import type { FastifyReply } from 'fastify';
import { AppError } from '../../shared/errors.ts';

/** With the time for which a key is remembered (api-keys.ts), within the second in which a revocation is in force. */
const LOOK_AGAIN_MS = 500;

/** `authenticate` as it was asked at first. The connection is cut: its answer has begun, or its body is still coming. */
export function endWithKey(reply: FastifyReply, authenticate: () => unknown): void {
  const { raw, log } = reply;
  const look = async (): Promise<void> => {
    try {
      await authenticate();
    } catch (error) {
      // While Redis does not answer, what was last known stays in force.
      if (!(error instanceof AppError) || error.code !== 'UNAUTHENTICATED') return;
      log.info('a request was cut: its key is not in force any more');
      raw.destroy();
    }
  };
  const timer = setInterval(look, LOOK_AGAIN_MS).unref();
  raw.once('close', () => clearInterval(timer));
}
