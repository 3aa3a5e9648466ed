/** What a worker tells the others through Redis: that it lives, and what it has; and what it hears: cancellations, followers. */
import os from 'node:os';
import type { Redis } from 'ioredis';
import type { Log } from '../../shared/log.ts';
import { type Cancellation, parseCancel, readCancelled } from '../../shared/queue/cancel.ts';
import { waitUntilReady } from '../../shared/queue/connection.ts';
import { channels, keys } from '../../shared/queue/keys.ts';
import { HEARTBEAT_MS } from '../../shared/queue/options.ts';
import type { SharedClock } from '../../shared/queue/shared-clock.ts';
import { announceWorker, type WorkerAccount } from '../../shared/queue/workers.ts';
import type { PoolFigures } from './pool/pool.ts';
import { type ImageStore, ImageUnusableError } from './sandbox/image-store.ts';

/** A cancel message can be missed while the connection is away; the mark in the record is looked at so often. */
const CANCEL_POLL_MS = 2_000;
const SUBSCRIBED_WITHIN_MS = 5_000;

/** What a worker says of itself. */
export const accountOf = (
  { worker: id, config: { slots } }: { worker: string; config: { slots: number } },
  {
    pool,
    canary,
    images,
    isSilent,
  }: {
    pool: { figures(): PoolFigures };
    canary: { proven: ReadonlySet<string> };
    images: ImageStore;
    isSilent: boolean;
  },
): WorkerAccount => {
  const { leased, ready, creating, engineFailing, quarantined } = pool.figures();
  return {
    id,
    host: os.hostname(),
    slots,
    running: leased,
    ready,
    creating,
    engineFailing,
    isSilent,
    quarantined,
    runtimes: [...canary.proven],
    images: Object.fromEntries(
      [...images.prepared].map(([name, image]) => [
        name,
        image instanceof ImageUnusableError ? { fault: image.message } : { digest: image.digest },
      ]),
    ),
  };
};

export interface Presence {
  start(): Promise<void>;
  /** Says at once what has changed. */
  tell(): Promise<void>;
  stop(): Promise<void>;
}

export function createPresence(options: {
  redis: Redis;
  subscriber: Redis;
  worker: string;
  clock: SharedClock;
  account: () => WorkerAccount;
  runningIds: () => string[];
  cancel: (wanted: Cancellation) => void;
  follow: (id: string) => void;
  log: Log;
}): Presence {
  const { redis, subscriber, worker, clock, log } = options;
  const timers: NodeJS.Timeout[] = [];

  const beat = async (): Promise<void> => {
    const nowMs = await clock.follow();
    await announceWorker(redis, options.account(), nowMs);
  };
  const pollCancels = async (): Promise<void> => {
    for (const one of await readCancelled(redis, options.runningIds())) options.cancel(one);
  };
  const every = (ms: number, what: string, act: () => Promise<void>): void => {
    let isUnderWay = false;
    timers.push(
      setInterval(() => {
        if (isUnderWay) return;
        isUnderWay = true;
        act()
          .catch((error: unknown) => log.warn({ err: error }, what))
          .finally(() => {
            isUnderWay = false;
          });
      }, ms),
    );
  };

  return {
    async start() {
      // First of all: to others on this engine a worker without a heartbeat is dead, and its sandboxes orphans.
      await beat();
      subscriber.on('message', (channel, message: string) =>
        channel === channels.follows()
          ? options.follow(message)
          : options.cancel(parseCancel(message)),
      );
      // A subscription that goes out while the connection is being checked is lost with the check.
      await waitUntilReady(subscriber, SUBSCRIBED_WITHIN_MS);
      await subscriber.subscribe(channels.cancels(), channels.follows());
      every(HEARTBEAT_MS, 'heartbeat', beat);
      every(CANCEL_POLL_MS, 'cancel poll', pollCancels);
    },
    tell: beat,
    async stop() {
      for (const timer of timers) clearInterval(timer);
      if (redis.status !== 'ready') return;
      await redis.pipeline().del(keys.worker(worker)).zrem(keys.workers(), worker).exec();
    },
  };
}
