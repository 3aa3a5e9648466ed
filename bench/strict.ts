/**
 * Volume at the strictest setting: a sandbox of its own for every job. A batch of `true`, from the first byte sent to
 * the last result read, in turn with the engine's own churn for the same sandboxes (the floor: nothing can be faster
 * on this engine) and with `docker run` in a loop (what it replaces), each at its best parallelism.
 */
import { runBatch } from './batches.ts';
import type { Benchmark } from './benchmark.ts';
import { serve, untilPoolFull } from './cofferdam.ts';
import { bestParallelism, RATE_COLUMNS, rateOf, rateRow } from './load.ts';
import { bareEngine } from './peers/bare-engine.ts';
import { dockerRun } from './peers/docker-run.ts';
import { atLeast } from './report.ts';
import { median } from './times.ts';

const PARALLELISMS = [1, 2, 3, 4, 6];

export const strict: Benchmark = {
  shows: 'a fresh sandbox a job, sustained; beside the bare engine and docker run',
  limitMinutes: 8,
  async measure(run) {
    const rounds = run.isQuick ? 1 : 3;
    const [jobs, cycles, runs, burst] = run.isQuick ? [60, 30, 15, 8] : [200, 100, 50, 16];
    const client = await serve(run);
    const churn = await bareEngine(run);
    const dockerTrue = (): Promise<void> => dockerRun('base', ['true']);
    const engineAtOnce = await bestParallelism(PARALLELISMS, burst, churn);
    const dockerAtOnce = await bestParallelism(PARALLELISMS, burst, dockerTrue);

    const rates: Record<'ours' | 'engine' | 'docker', number[]> = {
      ours: [],
      engine: [],
      docker: [],
    };
    for (let round = 0; round < rounds; round++) {
      await untilPoolFull(client.api);
      const tookMs = await runBatch(client, { defaults: { command: ['true'] } }, jobs, () => ({}));
      rates.ours.push((jobs / tookMs) * 1000);
      await untilPoolFull(client.api);
      rates.engine.push(await rateOf(cycles, engineAtOnce, churn));
      rates.docker.push(await rateOf(runs, dockerAtOnce, dockerTrue));
    }
    const ofEngine = median(rates.ours) / median(rates.engine);
    const ofDocker = median(rates.ours) / median(rates.docker);
    return {
      tables: [
        {
          title: 'true',
          columns: RATE_COLUMNS,
          rows: [
            rateRow('jobs of a batch', rates.ours, 'HTTP in, results out, each on disk'),
            rateRow(
              'bare engine',
              rates.engine,
              `floor; the same sandboxes, ${engineAtOnce} at once`,
            ),
            rateRow('docker run --rm --network none', rates.docker, `${dockerAtOnce} at once`),
          ],
        },
      ],
      targets: [
        atLeast('beside the bare engine', ofEngine, 0.9, ' ×'),
        atLeast('beside docker run', ofDocker, 2.5, ' ×'),
      ],
      notes: [
        `${rounds} rounds of ${jobs} jobs, ${cycles} bare cycles, ${runs} docker runs. Parallelisms tried: ${PARALLELISMS.join(', ')}.`,
        'The batch begins with a full pool: a head start of as many sandboxes as slots.',
      ],
    };
  },
};
