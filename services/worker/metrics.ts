/** What a worker counts. */
import { type Metrics, seconds } from '../../shared/metrics.ts';
import type { GroupFigures } from './pool/groups.ts';

export function createWorkerMetrics(metrics: Metrics) {
  const outcomes = metrics.counter('jobs_ended_total', 'Jobs ended, by outcome.', ['outcome']);
  const swept = metrics.counter('sandboxes_swept_total', 'Orphaned sandboxes removed.', []);
  const blobFetches = metrics.counter('blob_fetches_total', 'Blobs read from Redis.', []);
  const misses = metrics.counter('pool_misses_total', 'Jobs that waited for a sandbox.', []);
  const renewals = metrics.counter(
    'consumer_renewals_total',
    'Times that jobs waited and the worker, though it had room, was given none.',
    [],
  );
  return {
    renewed: (): void => renewals(1),
    outcomes: (kind: string): void => outcomes(1, kind),
    creation: metrics.histogram('sandbox_creation_seconds', 'Making one sandbox.', seconds.slow),
    miss: (): void => misses(1),
    swept: (gone: number): void => swept(gone),
    blobFetch: (): void => blobFetches(1),
    /** The figures that are read when somebody asks. */
    watch(figures: () => GroupFigures & { readonly blobCacheBytes: number }): void {
      metrics.gauge('pool_sandboxes', 'Sandboxes, by what they are doing.', ['state'], (set) => {
        const { ready, creating, leased, kept, removing } = figures();
        set(ready, 'ready');
        set(creating, 'creating');
        set(leased, 'leased');
        set(kept, 'kept');
        set(removing, 'removing');
      });
      metrics.gauge(
        'pool_oldest_ready_seconds',
        'Age of the oldest ready sandbox; 0 without one.',
        [],
        (set) => set(figures().oldestMs / 1000),
      );
      metrics.gauge('engine_failing', 'Whether the engine failed when last asked.', [], (set) =>
        set(figures().engineFailing ? 1 : 0),
      );
      metrics.gauge('blob_cache_bytes', 'Bytes of blobs kept in memory.', [], (set) =>
        set(figures().blobCacheBytes),
      );
    },
  };
}

export type WorkerMetrics = ReturnType<typeof createWorkerMetrics>;
