/**
 * Soak: every kind of work at once for as long as asked, then quiet, with an engine of its own. What leaks, shows: memory of
 * each process and of Redis's data over time, descriptors, sandboxes, shims, mounts, and the keys left in Redis once all
 * results are past their time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { startPrivateDockerd } from '../test/faults/kit/private-dockerd.ts';
import type { Benchmark, Run } from './benchmark.ts';
import { type Client, pidOfRedis, startApi, startRedis, startWorker } from './cofferdam.ts';
import { mixedLoad } from './mixed-load.ts';
import { atMost, type Report, type Row, type Table } from './report.ts';
import { minutesFor, type Slope, slopeOf } from './slope.ts';
import {
  createCensus,
  FIGURES,
  type Figure,
  type Figures,
  type TakeCensus,
} from './soak-census.ts';

const SAMPLE_EVERY_MS = 5_000;
/** The first part of the time, in which caches and heaps find their size. */
const WARM_UP_PART = 0.3;
const RETAIN_MS = 5_000;
/** Results expire, the sweeper takes what is left of them, the pool fills up. */
const QUIET_MS = 60_000;
const FIRST_MS = 5_000;
/** What a process may grow by, and how sure that has to be before it says anything. */
const MOST_MB_AN_HOUR = 1;

interface Sample {
  readonly atMs: number;
  readonly figures: Figures;
}

export const soak: Benchmark = {
  shows: 'mixed load for --minutes, then quiet: what grows over time, and what is left',
  limitMinutes: 6,
  isAsLongAsAsked: true,
  async measure(run) {
    const quietMs = run.isQuick ? QUIET_MS / 3 : QUIET_MS;
    const lastsMs = run.minutes * 60_000;
    const { client, take } = await startAll(run);
    // One of each first: connections and timers that stay are there before the first census.
    await mixedLoad(client, { untilMs: Date.now() + FIRST_MS });
    await sleep(quietMs);
    const before = await take();
    const { samples, tally } = await sampled(
      take,
      (untilMs) => mixedLoad(client, { untilMs }),
      lastsMs,
    );
    await sleep(quietMs);
    const after = await take();
    const warm = samples.filter(({ atMs }) => atMs >= lastsMs * WARM_UP_PART);
    return reportOf({ before, after, warm, tally, minutes: run.minutes });
  },
};

async function startAll(run: Run): Promise<{ client: Client; take: TakeCensus }> {
  const engine = run.own(await startPrivateDockerd(), (one) => one.close());
  const { url, redis } = await startRedis(run);
  const worker = await startWorker(run, url, { COFFERDAM_ENGINE: engine.address });
  const client = await startApi(run, url, { COFFERDAM_DEFAULT_RETAIN_MS: String(RETAIN_MS) });
  const pids = { api: client.pid, worker: worker.pid, redis: await pidOfRedis(redis) };
  return { client, take: createCensus({ pids, engine, redis }) };
}

/** What there is, every few seconds, while something is done. */
async function sampled<T>(
  take: TakeCensus,
  work: (untilMs: number) => Promise<T>,
  lastsMs: number,
): Promise<{ samples: Sample[]; tally: T }> {
  const samples: Sample[] = [];
  const startedAt = Date.now();
  const over = new AbortController();
  const sampling = (async () => {
    while (!over.signal.aborted) {
      samples.push({ atMs: Date.now() - startedAt, figures: await take() });
      await sleep(SAMPLE_EVERY_MS, undefined, { signal: over.signal }).catch(() => {});
    }
  })();
  try {
    return { samples, tally: await work(startedAt + lastsMs) };
  } finally {
    over.abort();
    await sampling;
  }
}

function reportOf(seen: {
  before: Figures;
  after: Figures;
  warm: readonly Sample[];
  tally: Readonly<Record<string, number>>;
  minutes: number;
}): Report {
  const { before, after, warm, minutes } = seen;
  const slopes = Object.fromEntries(
    FIGURES.map((name) => [name, slopeOf(warm.map(({ atMs, figures }) => [atMs, figures[name]]))]),
  ) as Record<Figure, Slope>;
  const memory = FIGURES.filter((name) => name.endsWith('MiB'));
  return {
    tables: [
      {
        title: 'what there is',
        columns: ['before', 'under load', 'quiet', 'an hour', '±'],
        rows: FIGURES.map((name) =>
          rowOf(name, { before, after, last: warm.at(-1)?.figures, slope: slopes[name] }),
        ),
      },
      workDone(seen.tally),
    ],
    targets: [
      ...['API, MiB', 'worker, MiB', 'dockerd, MiB'].map((name) =>
        atMost(`slope of ${name}`, slopes[name as Figure].perHour, MOST_MB_AN_HOUR, ' MiB/h'),
      ),
      ...(['sandboxes', 'shims', 'mounts', 'keys in Redis'] as const).map((name) =>
        atMost(`more ${name} than before`, after[name] - before[name], 0),
      ),
    ],
    notes: [
      `${minutes} minutes; slopes by least squares after the first ${WARM_UP_PART * 100} %, ± at 95 %.`,
      ...memory.map(
        (name) =>
          `${name}: to tell ${MOST_MB_AN_HOUR} MiB/h from none takes about ${Math.ceil(minutesFor(MOST_MB_AN_HOUR, slopes[name], minutes))} minutes.`,
      ),
      'Minutes say nothing of hours: a heap that still finds its size looks like a leak.',
    ],
  };
}

const rowOf = (
  what: Figure,
  seen: { before: Figures; after: Figures; last: Figures | undefined; slope: Slope },
): Row => ({
  what,
  cells: [
    seen.before[what],
    seen.last?.[what] ?? Number.NaN,
    seen.after[what],
    seen.slope.perHour,
    seen.slope.within,
  ],
});

const workDone = (tally: Readonly<Record<string, number>>): Table => ({
  title: 'work done',
  columns: ['count'],
  rows: Object.entries(tally).map(([what, count]) => ({ what, cells: [count] })),
});
