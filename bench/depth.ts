/**
 * Depth: does a job take longer because very many wait? One batch of 200,000 that runs one job at a time, and whose
 * first job sleeps, so that the others wait and use no processor: single jobs in both lanes, before and with it. Then
 * as many waiting jobs in the queue itself, in many batches behind a bulk lane that sleeping jobs keep full.
 */
import { LANES, type Lane } from '../shared/contract/lane.ts';
import { cancelBatch, submitBatch, untilRunning } from './batches.ts';
import type { Benchmark } from './benchmark.ts';
import { type Served, serve, untilPoolFull } from './cofferdam.ts';
import { inParallel } from './load.ts';
import { atMost, type Row, type Target } from './report.ts';
import { median, TIME_COLUMNS, timeOf, timeRow } from './times.ts';

/** Room for the sleeping job beside what is measured, in either lane. */
const SLOTS = 4;
const JOBS_OF_A_BATCH = 1_000;
const UPLOADS_AT_ONCE = 2;
/** Single jobs in each lane before anything is measured: both sides of a comparison come from a warm server. */
const WARM_UP = 30;
const SLEEP = { command: ['sleep', '570'], timeoutMs: 600_000 };

export const depth: Benchmark = {
  shows: 'a single job while 200,000 jobs wait',
  limitMinutes: 12,
  async measure(run) {
    const [waiting, rounds] = run.isQuick ? [10_000, 15] : [200_000, 60];
    const server = await serve(run, {
      COFFERDAM_SLOTS: String(SLOTS),
      COFFERDAM_MAX_OPEN_JOBS: String(3 * waiting),
    });
    for (const lane of LANES) await series(server, lane, WARM_UP);
    const one = await oneBatch(server, waiting, rounds);
    const many = await manyBatches(server, waiting, rounds);
    return {
      tables: [
        { title: `${waiting} waiting`, columns: TIME_COLUMNS, rows: [...one.rows, ...many.rows] },
      ],
      targets: [...one.targets, ...many.targets],
      notes: [
        `${SLOTS} slots; ${rounds} jobs each, one at a time, each with a ready sandbox.`,
        `Warm-up: ${WARM_UP} jobs in each lane. In turn: both lanes with nothing waiting, then both with all waiting.`,
      ],
    };
  },
};

async function oneBatch(server: Served, waiting: number, rounds: number) {
  const idle = {
    interactive: await series(server, 'interactive', rounds),
    bulk: await series(server, 'bulk', rounds),
  };
  const { id } = await submitBatch(server, { maxParallel: 1 }, waiting, (index) =>
    index === 0 ? SLEEP : { command: ['true'] },
  );
  await untilRunning(server, id);
  const deep = {
    interactive: await series(server, 'interactive', rounds),
    bulk: await series(server, 'bulk', rounds),
  };
  await cancelBatch(server, id);
  return {
    rows: [
      ...compared('one batch waits, interactive lane', idle.interactive, deep.interactive),
      ...compared('one batch waits, bulk lane', idle.bulk, deep.bulk),
    ],
    targets: [
      slower('one batch waits, interactive lane', idle.interactive, deep.interactive),
      slower('one batch waits, bulk lane', idle.bulk, deep.bulk),
    ],
  };
}

/** The idle series runs with the sleeping jobs in their slots as well: all that differs is what waits. */
async function manyBatches(
  server: Served,
  waiting: number,
  rounds: number,
): Promise<{ rows: Row[]; targets: Target[] }> {
  const sleepers = await submitBatch(server, { defaults: SLEEP }, SLOTS, () => ({}));
  await untilRunning(server, sleepers.id);
  const idle = await series(server, 'interactive', rounds);
  const ids = await inParallel(Math.ceil(waiting / JOBS_OF_A_BATCH), UPLOADS_AT_ONCE, async () => {
    const defaults = { command: ['true'] };
    const { id } = await submitBatch(server, { defaults }, JOBS_OF_A_BATCH, () => ({}));
    return id;
  });
  const deep = await series(server, 'interactive', rounds);
  for (const id of [...ids, sleepers.id]) await cancelBatch(server, id);
  const what = 'all in the bulk queue, interactive lane';
  return { rows: compared(what, idle, deep), targets: [slower(what, idle, deep)] };
}

async function series({ api }: Served, lane: Lane, rounds: number): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await untilPoolFull(api);
    times.push(await timeOf(() => api.run({ command: ['true'], lane })));
  }
  return times;
}

const ratioOf = (idle: readonly number[], deep: readonly number[]): number =>
  median(deep) / median(idle);

const compared = (what: string, idle: readonly number[], deep: readonly number[]): Row[] => [
  timeRow(`${what}: before`, idle),
  timeRow(`${what}: with it`, deep, `p50 ${ratioOf(idle, deep).toFixed(2)} × that before`),
];

const slower = (what: string, idle: readonly number[], deep: readonly number[]): Target =>
  atMost(`${what}: p50 over that before`, ratioOf(idle, deep), 1.3, ' ×');
