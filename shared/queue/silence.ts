/**
 * Leaves a connection that nothing comes back from. A host that loses its power, or a network that drops packets, closes
 * no connection: without this the kernel would send again for a quarter of an hour, and every command wait for that.
 */
import type { Cluster, Redis } from 'ioredis';
import type { Log } from '../log.ts';

const LOOK_MS = 2_000;
/** Well above the slowest Redis that can still be worked with, and within the lock of a job. */
const SILENCE_MS = 10_000;
const TIMED_OUT = 'Command timed out';

/** Until the connection ends for good. */
export function leaveWhenSilent(redis: Redis, log: Log): void {
  const asked = new Set<Redis>();
  const ask = (one: Redis): void => {
    if (one.status !== 'ready' || asked.has(one)) return;
    asked.add(one);
    const answered = (): void => {
      clearTimeout(overdue);
      asked.delete(one);
      one.off('close', answered);
    };
    const overdue = setTimeout(() => {
      answered();
      log.warn({ silentMs: SILENCE_MS }, 'Redis says nothing: connecting anew');
      one.disconnect(true);
    }, SILENCE_MS);
    overdue.unref();
    one.once('close', answered);
    // A refusal is an answer; the time that a request's commands have is no more than that.
    one.ping().then(answered, (error: Error) => error.message === TIMED_OUT || answered());
  };
  const timer = setInterval(() => {
    const servers = redis.isCluster ? (redis as unknown as Cluster).nodes() : [redis];
    for (const one of servers) ask(one);
  }, LOOK_MS);
  timer.unref();
  redis.once('end', () => clearInterval(timer));
}
