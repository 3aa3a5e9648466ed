/** What a worker counts. */
import { type Metrics, seconds } from '../../shared/metrics.ts';
import type { PoolFigures } from './pool/pool.ts';

export function createWorkerMetrics(metrics: Metrics) {
  const outcomes = metrics.counter('jobs_ended_total', 'Jobs ended, by outcome.', ['outcome']);
  const swept = metrics.counter('sandboxes_swept_total', 'Orphaned sandboxes removed.', []);
  return {
    outcomes: (kind: string): void => outcomes(1, kind),
    creation: metrics.histogram('sandbox_creation_seconds', 'Making one sandbox.', seconds.slow),
    swept: (gone: number): void => swept(gone),
    /** The figures that are read when somebody asks. */
    watch(figures: () => PoolFigures): void {
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
    },
  };
}

export type WorkerMetrics = ReturnType<typeof createWorkerMetrics>;
