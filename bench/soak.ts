/**
 * Soak: every kind of work at once for as long as asked, then quiet. What leaks, shows: resident memory of each process
 * over time, its descriptors, sandboxes, and the keys left in Redis once all results are past their time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { sandboxes } from '../test/helpers/docker.ts';
import type { Benchmark } from './benchmark.ts';
import { pidOfRedis, startApi, startRedis, startWorker } from './cofferdam.ts';
import { descriptorsOf, residentMb } from './memory.ts';
import { mixedLoad } from './mixed-load.ts';
import { atMost, type Report } from './report.ts';

const SAMPLE_EVERY_MS = 5_000;
/** The first part of the time, in which caches and heaps find their size. */
const WARM_UP_PART = 0.3;
const RETAIN_MS = 5_000;
/** Results expire, the sweeper takes what is left of them, the pool fills up. */
const QUIET_MS = 60_000;
const FIRST_MS = 5_000;
const HOUR_MS = 3_600_000;

const NAMES = ['api', 'worker', 'redis'] as const;
type Name = (typeof NAMES)[number];
/** Pids by name. */
type Processes = Readonly<Record<Name, number>>;
type Figures = Readonly<Record<Name, number>>;

interface Sample {
  readonly atMs: number;
  readonly megabytes: Figures;
}

interface Census {
  readonly megabytes: Figures;
  readonly descriptors: Figures;
  readonly sandboxes: number;
  readonly keys: number;
}

export const soak: Benchmark = {
  shows: 'mixed load for --minutes, then quiet: memory over time, and what is left',
  limitMinutes: 5,
  isAsLongAsAsked: true,
  async measure(run) {
    const quietMs = run.isQuick ? QUIET_MS / 3 : QUIET_MS;
    const lastsMs = run.minutes * 60_000;
    const { url, redis } = await startRedis(run);
    const worker = await startWorker(run, url);
    const client = await startApi(run, url, { COFFERDAM_DEFAULT_RETAIN_MS: String(RETAIN_MS) });
    const processes: Processes = {
      api: client.pid,
      worker: worker.pid,
      redis: await pidOfRedis(redis),
    };
    const census = async (): Promise<Census> => ({
      megabytes: mapped(processes, residentMb),
      descriptors: mapped(processes, descriptorsOf),
      sandboxes: (await sandboxes(worker.worker)).length,
      keys: await redis.dbsize(),
    });
    // One of each first: connections and timers that stay are there before the first census.
    await mixedLoad(client, { untilMs: Date.now() + FIRST_MS });
    await sleep(quietMs);
    const before = await census();
    const samples: Sample[] = [];
    const startedAt = Date.now();
    const sampling = setInterval(
      () =>
        samples.push({
          atMs: Date.now() - startedAt,
          megabytes: mapped(processes, residentMb),
        }),
      SAMPLE_EVERY_MS,
    );
    const tally = await mixedLoad(client, { untilMs: startedAt + lastsMs }).finally(() =>
      clearInterval(sampling),
    );
    await sleep(quietMs);
    const warm = samples.filter(({ atMs }) => atMs >= lastsMs * WARM_UP_PART);
    return reportOf({ before, after: await census(), warm, tally, minutes: run.minutes });
  },
};

function reportOf(seen: {
  before: Census;
  after: Census;
  warm: readonly Sample[];
  tally: Readonly<Record<string, number>>;
  minutes: number;
}): Report {
  const { before, after, warm } = seen;
  const slopeOf = (name: Name): number =>
    slopePerHour(warm.map(({ atMs, megabytes }) => [atMs, megabytes[name]]));
  return {
    tables: [
      {
        title: 'processes',
        columns: ['MiB before', 'at the end', 'quiet', 'MiB/h', 'descriptors before', 'after'],
        rows: NAMES.map((name) => ({
          what: name,
          cells: [
            before.megabytes[name],
            warm.at(-1)?.megabytes[name] ?? Number.NaN,
            after.megabytes[name],
            slopeOf(name),
            before.descriptors[name],
            after.descriptors[name],
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
        rows: Object.entries(seen.tally).map(([what, count]) => ({ what, cells: [count] })),
      },
    ],
    targets: [
      atMost('slope of the API', slopeOf('api'), 1, ' MiB/h'),
      atMost('slope of the worker', slopeOf('worker'), 1, ' MiB/h'),
      atMost('more sandboxes than before', after.sandboxes - before.sandboxes, 0),
      atMost('more keys than before', after.keys - before.keys, 0),
    ],
    notes: [
      `${seen.minutes} minutes; slopes by least squares after the first ${WARM_UP_PART * 100} %.`,
      'Minutes say nothing of hours: a heap that still finds its size looks like a leak.',
    ],
  };
}

const mapped = (processes: Processes, figure: (pid: number) => number): Figures => ({
  api: figure(processes.api),
  worker: figure(processes.worker),
  redis: figure(processes.redis),
});

/** Least squares over [milliseconds, value]. */
function slopePerHour(points: readonly (readonly [number, number])[]): number {
  const mean = (at: 0 | 1): number =>
    points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [meanX, meanY] = [mean(0), mean(1)];
  const above = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const below = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return (above / below) * HOUR_MS;
}
