/**
 * Sends what is due. Every API process does: each claims deliveries for the time of a lease, sends them, and ends them; a
 * process that dies leaves them to the next. At least once, then: a receiver may hear one twice, under the same id.
 *
 * Nobody's receiver holds up another's: a target has few deliveries under way at once, and its tenant a part of all.
 */
import type { Redis } from 'ioredis';
import type { Log } from '../../../shared/log.ts';
import {
  claimCallbacks,
  type Delivery,
  type DeliveryEnd,
  endCallback,
} from '../../../shared/queue/callbacks.ts';
import { type Attempt, type AttemptParts, attemptDelivery } from './attempt.ts';
import { messageOf } from './message.ts';
import type { CallbackMetrics } from './metrics.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Under way at once: in this process, of one tenant, to one target. */
const MAX_UNDER_WAY = 64;
const MAX_OF_TENANT = 16;
const MAX_OF_LANE = 4;

export interface DeliveryTimes {
  readonly pollMs: number;
  /** From the name to the end of the answer. */
  readonly attemptMs: number;
  /** Longer than an attempt and what Redis takes before and after it. */
  readonly leaseMs: number;
  /** Between one attempt and the next, on average. After the last comes the dead letter. */
  readonly waitsMs: readonly number[];
}

export const DELIVERY_TIMES: DeliveryTimes = {
  pollMs: 250,
  attemptMs: 5 * SECOND,
  leaseMs: 30 * SECOND,
  waitsMs: [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, 2 * HOUR, 6 * HOUR],
};

export interface Deliveries {
  start(): void;
  /** Ends at once: what is under way is given back, and is sent again by another process. */
  stop(): Promise<void>;
}

export function createDeliveries(
  options: AttemptParts & {
    redis: Redis;
    publicUrl: string | undefined;
    metrics: CallbackMetrics;
    log: Log;
    times?: DeliveryTimes;
  },
): Deliveries {
  const { redis, metrics, log, times = DELIVERY_TIMES } = options;
  const publicUrl = (options.publicUrl ?? '').replace(/\/+$/, '');
  const underWay = new Map<Delivery, { ended: Promise<void>; abort: AbortController }>();
  let timer: NodeJS.Timeout | undefined;
  let claiming: Promise<void> | undefined;
  let isStopping = false;

  const countByLane = (): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const { lane } of underWay.keys()) counts[lane] = (counts[lane] ?? 0) + 1;
    return counts;
  };

  const claim = async (): Promise<void> => {
    const wanted = MAX_UNDER_WAY - underWay.size;
    if (wanted <= 0) return;
    const claimed = await claimCallbacks(redis, {
      wanted,
      leaseMs: times.leaseMs,
      maxOfLane: MAX_OF_LANE,
      maxOfTenant: MAX_OF_TENANT,
      underWay: countByLane(),
    });
    for (const delivery of claimed) {
      const abort = new AbortController();
      const ended = deliver(delivery, abort).finally(() => {
        underWay.delete(delivery);
        look();
      });
      underWay.set(delivery, { ended, abort });
    }
  };

  const look = (): void => {
    if (isStopping) return;
    claiming ??= claim()
      .catch((error: unknown) => log.warn({ err: error }, 'callbacks were not looked for'))
      .finally(() => {
        claiming = undefined;
      });
  };

  const deliver = async (delivery: Delivery, abort: AbortController): Promise<void> => {
    const late = new Error(`no answer within ${times.attemptMs / SECOND} s`);
    const overdue = setTimeout(() => abort.abort(late), times.attemptMs);
    try {
      const body = await messageOf(redis, delivery, publicUrl);
      const attempt = await attemptDelivery(delivery, { ...options, body, signal: abort.signal });
      await end(delivery, attempt);
    } catch (error) {
      log.warn({ err: error, callback: delivery.id }, 'a callback could not be made or ended');
      // Where it is Redis that fails, the lease runs out, and it is sent again.
      const reason = 'this server failed';
      await end(delivery, { kind: 'failed', isFinal: false, reason }).catch(() => {});
    } finally {
      clearTimeout(overdue);
    }
  };

  const end = async (delivery: Delivery, attempt: Attempt): Promise<void> => {
    if (attempt.kind === 'sent') {
      metrics.sent();
      await endCallback(redis, delivery, { became: 'sent' });
      return;
    }
    const became = isStopping ? ({ became: 'returned' } as const) : afterFailure(delivery, attempt);
    if (became.became !== 'returned') metrics.failed();
    const isEnded = await endCallback(redis, delivery, became);
    const { id, subject, lane } = delivery;
    const known = {
      callback: id,
      subject,
      lane,
      attempt: delivery.attempt,
      reason: attempt.reason,
    };
    if (became.became !== 'dead') return log.debug(known, 'a callback was not sent');
    if (!isEnded) return;
    metrics.dead();
    log.warn(known, 'a callback was given up');
  };

  const afterFailure = (
    { attempt }: Delivery,
    { isFinal, reason }: Extract<Attempt, { kind: 'failed' }>,
  ): DeliveryEnd => {
    const waitMs = times.waitsMs[attempt - 1];
    if (isFinal || waitMs === undefined) return { became: 'dead', reason };
    return { became: 'retried', waitMs: withJitter(waitMs) };
  };

  return {
    start() {
      timer ??= setInterval(look, times.pollMs);
    },
    async stop() {
      isStopping = true;
      clearInterval(timer);
      await claiming;
      const all = [...underWay.values()];
      for (const { abort } of all) abort.abort(new Error('this server stops'));
      await Promise.allSettled(all.map(({ ended }) => ended));
    },
  };
}

/** Full jitter: receivers that come back are not met by all that waited at once. */
const withJitter = (meanMs: number): number => Math.random() * 2 * meanMs;
