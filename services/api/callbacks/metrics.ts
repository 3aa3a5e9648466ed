/** Figures of callbacks and notices. */
import type { Redis } from 'ioredis';
import type { Metrics } from '../../../shared/metrics.ts';
import { oldestDueMs } from '../../../shared/queue/callbacks.ts';

export interface CallbackMetrics {
  sent(): void;
  failed(): void;
  dead(): void;
}

export function createCallbackMetrics(metrics: Metrics, redis: Redis): CallbackMetrics {
  const sent = metrics.counter('callbacks_sent_total', 'Callbacks that arrived.', []);
  const failed = metrics.counter('callbacks_failed_total', 'Attempts to send that failed.', []);
  const dead = metrics.counter('callbacks_dead_total', 'Callbacks given up.', []);
  metrics.gauge('callbacks_due_seconds', 'Age of the oldest due callback.', [], async (set) => {
    const dueMs = await oldestDueMs(redis).catch(() => Number.NaN);
    set(dueMs === undefined ? 0 : Math.max(0, (Date.now() - dueMs) / 1000));
  });
  return { sent: () => sent(1), failed: () => failed(1), dead: () => dead(1) };
}
