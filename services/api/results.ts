/**
 * Results as they come. Each API process has one subscription; whoever settles a job publishes to the processes that
 * wait for it. Messages can be lost, so what is still waited for is read again every so often and on reconnection.
 */
import type { Redis } from 'ioredis';
import type { Log } from '../../shared/log.ts';
import { channels, keys } from '../../shared/queue/keys.ts';
import { watchJob } from '../../shared/queue/watch.ts';

const REREAD_MS = 1_500;

export interface Results {
  /** Must be called before the job is submitted or looked at: what comes after is then not missed. */
  expect(id: string, waitMs: number): Waiting;
  /** Joins the waiters of a job that another process may have accepted. */
  join(id: string, waitMs: number): Promise<string | undefined>;
  start(): Promise<void>;
  /** Ends every wait as if its time were over: the callers are told where to look. */
  release(): void;
  stop(): void;
}

export interface Waiting {
  /** The result as stored JSON; undefined when the time was over first. */
  readonly result: Promise<string | undefined>;
  cancel(): void;
}

export function createResults(options: {
  redis: Redis;
  subscriber: Redis;
  instance: string;
  log: Log;
}): Results {
  const { redis, subscriber, instance, log } = options;
  const waiters = new Map<string, Set<(result: string | undefined) => void>>();
  let timer: NodeJS.Timeout | undefined;

  const deliver = (id: string, result: string): void => {
    for (const resolve of waiters.get(id) ?? []) resolve(result);
  };

  const onMessage = (_channel: string, message: string): void => {
    const end = message.indexOf('\n');
    if (end >= 0) deliver(message.slice(0, end), message.slice(end + 1));
    else void reread([message]);
  };

  const reread = async (ids: readonly string[]): Promise<void> => {
    if (ids.length === 0) return;
    try {
      const results = await redis.mget(ids.map(keys.result));
      ids.forEach((id, index) => {
        const result = results[index];
        if (typeof result === 'string') deliver(id, result);
      });
    } catch (error) {
      log.warn({ err: error }, 'could not read pending results');
    }
  };

  const expect = (id: string, waitMs: number): Waiting => {
    let finish: (result: string | undefined) => void = () => {};
    const result = new Promise<string | undefined>((resolve) => {
      const deadline = setTimeout(() => finish(undefined), waitMs);
      finish = (value) => {
        clearTimeout(deadline);
        const others = waiters.get(id);
        others?.delete(finish);
        if (others?.size === 0) waiters.delete(id);
        resolve(value);
      };
    });
    const waiting = waiters.get(id) ?? new Set();
    waiting.add(finish);
    waiters.set(id, waiting);
    return { result, cancel: () => finish(undefined) };
  };

  const release = (): void => {
    for (const waiting of waiters.values()) for (const finish of waiting) finish(undefined);
  };

  return {
    expect,
    async join(id, waitMs) {
      const waiting = expect(id, waitMs);
      try {
        const watched = await watchJob(redis, { id, instance, forMs: waitMs + REREAD_MS });
        if (watched.kind !== 'watching') {
          waiting.cancel();
          return watched.kind === 'done' ? watched.result : undefined;
        }
      } catch (error) {
        waiting.cancel();
        throw error;
      }
      return waiting.result;
    },
    async start() {
      subscriber.on('message', onMessage);
      subscriber.on('ready', () => void reread([...waiters.keys()]));
      await subscriber.subscribe(channels.replies(instance));
      timer = setInterval(() => void reread([...waiters.keys()]), REREAD_MS);
    },
    release,
    stop() {
      clearInterval(timer);
      release();
    },
  };
}
