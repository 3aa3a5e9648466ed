/** What a worker counts. */
import { type Metrics, seconds } from '../../shared/metrics.ts';
import type { PoolFigures } from './pool/pool.ts';

export function createWorkerMetrics(metrics: Metrics, figures: () => PoolFigures) {
  const outcomes = metrics.counter('jobs_ended_total', 'Jobs ended, by outcome.', ['outcome']);
  const creation = metrics.histogram(
    'sandbox_creation_seconds',
    'Making one sandbox.',
    seconds.slow,
  );
  const swept = metrics.counter('sandboxes_swept_total', 'Orphaned sandboxes removed.', []);
  metrics.gauge('pool_sandboxes', 'Sandboxes, by what they are doing.', ['state'], (set) => {
    const { ready, creating, leased, removing } = figures();
    set(ready, 'ready');
    set(creating, 'creating');
    set(leased, 'leased');
    set(removing, 'removing');
  });
  metrics.gauge('engine_failing', 'Whether the engine failed when last asked.', [], (set) =>
    set(figures().engineFailing ? 1 : 0),
  );
  return { outcomes, creation, swept };
}
