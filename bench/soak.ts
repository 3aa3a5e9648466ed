/**
 * Soak: every kind of work at once for as long as asked, then quiet. What leaks, shows: resident memory of each process
 * over time, its descriptors, sandboxes, and the keys left in Redis once all results are past their time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { sandboxes } from '../test/helpers/docker.ts';
import type { Benchmark } from './benchmark.ts';
import { startApi, startRedis, startWorker } from './cofferdam.ts';
import { descriptorsOf, residentMb } from './memory.ts';
import { mixedLoad } from './mixed-load.ts';
import { atMost } from './report.ts';

const SAMPLE_EVERY_MS = 5_000;
/** The first part of the time, in which caches and heaps find their size. */
const WARM_UP_PART = 0.3;
const RETAIN_MS = 5_000;
/** Results expire, the sweeper takes what is left of them, the pool fills up. */
const QUIET_MS = 60_000;
const HOUR_MS = 3_600_000;

interface Sample {
  readonly atMs: number;
  readonly megabytes: readonly number[];
}

export const soak: Benchmark = {
  shows: 'mixed load for --minutes, then quiet: memory over time, and what is left',
  limitMinutes: 5,
  isAsLongAsAsked: true,
  async measure(run) {
    const quietMs = run.isQuick ? QUIET_MS / 3 : QUIET_MS;
    const { url, redis } = await startRedis(run);
    const worker = await startWorker(run, url);
    const client = await startApi(run, url, {
      COFFERDAM_DEFAULT_RETAIN_MS: String(RETAIN_MS),
    });
    const redisPid = Number((await redis.info('server')).match(/process_id:(\d+)/)?.[1]);
    const processes = [
      { name: 'api', pid: client.pid },
      { name: 'worker', pid: worker.pid },
      { name: 'redis', pid: redisPid },
    ];
    const census = async () => ({
      descriptors: processes.map(({ pid }) => descriptorsOf(pid)),
      sandboxes: (await sandboxes(worker.worker)).length,
      keys: await redis.dbsize(),
    });
    // One of each first: connections and timers that stay are there before the first census.
    await mixedLoad(client, { untilMs: Date.now() + 5_000 });
    await sleep(quietMs);
    const before = await census();

    const samples: Sample[] = [];
    const startedAt = Date.now();
    const sampling = setInterval(() => {
      const megabytes = processes.map(({ pid }) => residentMb(pid));
      samples.push({ atMs: Date.now() - startedAt, megabytes });
    }, SAMPLE_EVERY_MS);
    const tally = await mixedLoad(client, { untilMs: startedAt + run.minutes * 60_000 }).finally(
      () => clearInterval(sampling),
    );
    await sleep(quietMs);
    const after = await census();

    const warm = samples.filter(({ atMs }) => atMs >= run.minutes * 60_000 * WARM_UP_PART);
    const slopes = processes.map((_, at) =>
      slopePerHour(warm.map(({ atMs, megabytes }) => [atMs, megabytes[at] ?? 0])),
    );
    return {
      tables: [
        {
          title: 'processes',
          columns: ['MiB first', 'MiB last', 'MiB/h', 'descriptors before', 'after'],
          rows: processes.map(({ name }, at) => ({
            what: name,
            cells: [
              warm[0]?.megabytes[at] ?? Number.NaN,
              warm.at(-1)?.megabytes[at] ?? Number.NaN,
              slopes[at] ?? Number.NaN,
              before.descriptors[at] ?? Number.NaN,
              after.descriptors[at] ?? Number.NaN,
            ],
          })),
        },
        {
          title: 'left behind',
          columns: ['before', 'after'],
          rows: [
            { what: 'sandboxes', cells: [before.sandboxes, after.sandboxes], note: 'the pool' },
            { what: 'keys in Redis', cells: [before.keys, after.keys] },
          ],
        },
        {
          title: 'work done',
          columns: ['count'],
          rows: Object.entries(tally).map(([what, count]) => ({ what, cells: [count] })),
        },
      ],
      targets: [
        atMost('slope of the API', slopes[0] ?? Number.NaN, 1, ' MiB/h'),
        atMost('slope of the worker', slopes[1] ?? Number.NaN, 1, ' MiB/h'),
        atMost('more sandboxes than before', after.sandboxes - before.sandboxes, 0),
        atMost('more keys than before', after.keys - before.keys, 0),
      ],
      notes: [
        `${run.minutes} minutes; slopes by least squares after the first ${WARM_UP_PART * 100} %. Minutes say nothing of hours: a heap that still finds its size looks like a leak.`,
      ],
    };
  },
};

/** Least squares over [milliseconds, value]. */
function slopePerHour(points: readonly (readonly [number, number])[]): number {
  const mean = (at: 0 | 1): number =>
    points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [meanX, meanY] = [mean(0), mean(1)];
  const above = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const below = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return (above / below) * HOUR_MS;
}
