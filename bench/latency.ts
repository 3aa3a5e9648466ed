/**
 * How long one small job takes from its HTTP request to its result, one at a time, each with a ready sandbox of its
 * own. Beside it, in turn with it: `docker run` of the same command from the same image, as a process, which is what it
 * replaces; and the same command as a plain child process of Node, which is the floor.
 *
 * Then the same while nobody's work fills the bulk lane.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { cancelBatch, submitBatch, untilRunning } from './batches.ts';
import type { Benchmark, Run } from './benchmark.ts';
import { type Client, serve, untilPoolFull } from './cofferdam.ts';
import { type KeptConnection, keepConnection } from './kept-connection.ts';
import { residentMb } from './memory.ts';
import { dockerRun } from './peers/docker-run.ts';
import { plainProcess } from './peers/plain-process.ts';
import { atLeast, atMost, type Row, type Target } from './report.ts';
import { median, percentile, TIME_COLUMNS, timeOf, timeRow } from './times.ts';

const WARM_UP = 3;
/** A server that was just started has code that no job has run yet. These share a sandbox, so that they take seconds. */
const WARM_UP_JOBS = 300;
/** The engine is not done with a container when `docker run` returns. */
const REST_MS = 100;
/** Between two jobs beside a full bulk lane: time for the pool, and so that they meet it in all its states. */
const PAUSE_MS = 250;
/** More than are run while they are wanted. */
const BULK_JOBS = 1_000;

interface Command {
  readonly title: string;
  readonly image: string;
  readonly argv: readonly [string, ...string[]];
}

const TRUE: Command = { title: 'true', image: 'base', argv: ['true'] };
const PYTHON: Command = {
  title: "python3 -c 'print(6*7)'",
  image: 'python',
  argv: ['python3', '-c', 'print(6*7)'],
};
/** Half a second of processor time, whatever the machine. */
const BURN = { image: 'python', script: 'import time\nwhile time.process_time() < 0.5: pass\n' };

export const latency: Benchmark = {
  shows: 'one small job at a time over HTTP; beside docker run, and beside a full bulk lane',
  limitMinutes: 6,
  async measure(run) {
    const rounds = run.isQuick ? 8 : 40;
    const server = await serve(run);
    const jobs = run.own(keepConnection(server), (connection) => connection.close());
    await warmUp(jobs);
    const first = await measureCommand({ server, jobs }, TRUE, rounds);
    const second = await measureCommand({ server, jobs }, PYTHON, rounds);
    await sleep(1_000);
    const memory = residentMb(server.pid);
    const lane = await measureBesideBulk(run, { server, jobs });
    return {
      tables: [
        { title: 'alone', columns: TIME_COLUMNS, rows: [...first.rows, ...second.rows] },
        { title: 'beside bulk', columns: TIME_COLUMNS, rows: lane.rows },
      ],
      targets: [...first.targets, ...lane.targets],
      notes: [
        `${rounds} rounds after ${WARM_UP_JOBS} jobs and ${WARM_UP} rounds of warm-up; in each: docker run, one job, one plain process.`,
        'Jobs go over one connection that is kept.',
        'Alone, every job found a ready sandbox, which was used once.',
        `Resident memory of the server (API and worker in one process), idle: ${memory.toFixed(0)} MiB.`,
      ],
    };
  },
};

/** The server and the connection to it over which jobs are timed. */
interface Measured {
  readonly server: Client;
  readonly jobs: KeptConnection;
}

async function warmUp(jobs: KeptConnection): Promise<void> {
  for (let sent = 0; sent < WARM_UP_JOBS; sent++) {
    await jobs.run({ command: ['true'], isolation: 'group', group: 'warm-up' });
  }
}

async function measureCommand(
  { server, jobs: connection }: Measured,
  { title, image, argv }: Command,
  rounds: number,
): Promise<{ rows: Row[]; targets: Target[] }> {
  const request = { image, command: [...argv] };
  const jobs: number[] = [];
  const dockerRuns: number[] = [];
  const plain: number[] = [];
  for (let round = -WARM_UP; round < rounds; round++) {
    const dockerRunMs = await timeOf(() => dockerRun(image, argv));
    await untilPoolFull(server.api);
    await sleep(REST_MS);
    const jobMs = await timeOf(() => connection.run(request));
    const plainMs = await timeOf(() => plainProcess(argv));
    if (round < 0) continue;
    jobs.push(jobMs);
    dockerRuns.push(dockerRunMs);
    plain.push(plainMs);
  }
  const faster = median(dockerRuns) / median(jobs);
  return {
    rows: [
      timeRow(`${title}: job over HTTP`, jobs, `${faster.toFixed(1)} × faster than docker run`),
      timeRow(`${title}: docker run --rm --network none`, dockerRuns),
      timeRow(`${title}: plain child process`, plain, 'floor: no sandbox'),
    ],
    targets: [
      atMost(`${title}: p50`, median(jobs), 8, ' ms'),
      atMost(`${title}: p99`, percentile(jobs, 99), 30, ' ms'),
      atLeast(`${title}: faster than docker run`, faster, 30, ' ×'),
    ],
  };
}

async function measureBesideBulk(
  run: Run,
  { server, jobs }: Measured,
): Promise<{ rows: Row[]; targets: Target[] }> {
  const rounds = run.isQuick ? 20 : 100;
  const series = async (): Promise<number[]> => {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      await sleep(PAUSE_MS);
      times.push(await timeOf(() => jobs.run({ command: ['true'] })));
    }
    return times;
  };
  const idle = await series();
  const batch = await submitBatch(server, { defaults: BURN }, BULK_JOBS, () => ({}));
  await untilRunning(server, batch.id);
  const loaded = await series();
  await cancelBatch(server, batch.id);
  const slower = percentile(loaded, 95) / percentile(idle, 95);
  return {
    rows: [
      timeRow('true: bulk lane empty', idle),
      timeRow('true: bulk lane full', loaded, `p95 ${slower.toFixed(1)} × that of the empty lane`),
    ],
    targets: [atMost('beside a full bulk lane: p95 over idle p95', slower, 3, ' ×')],
  };
}
