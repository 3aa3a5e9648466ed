/**
 * Volume where jobs of one batch may share sandboxes, one after another: `true`, and Python, each beside plain spawns of
 * the same from a loop on the host at the loop's best parallelism, which is the floor.
 */
import { runBatch } from './batches.ts';
import type { Benchmark } from './benchmark.ts';
import { pidOfRedis, type Served, serve, untilPoolFull } from './cofferdam.ts';
import { bestParallelism, RATE_COLUMNS, rateOf, rateRow } from './load.ts';
import { pidsOf } from './memory.ts';
import { plainProcess } from './peers/plain-process.ts';
import { processorMs } from './processor.ts';
import { atLeast, type Row } from './report.ts';
import { median } from './times.ts';

const PARALLELISMS = [1, 2, 3, 4];

interface Command {
  readonly title: string;
  readonly image: string;
  readonly argv: readonly [string, ...string[]];
  readonly jobs: number;
}

/** Jobs, plain spawns and how the two compare, by rounds that took turns. */
interface Compared {
  readonly rates: readonly number[];
  readonly ofPlain: number;
  readonly rows: readonly Row[];
}

export const group: Benchmark = {
  shows: 'jobs that share sandboxes in a batch; beside plain spawns',
  limitMinutes: 8,
  async measure(run) {
    const rounds = run.isQuick ? 1 : 3;
    const [trues, pythons] = run.isQuick ? [1_000, 200] : [5_000, 1_000];
    const server = await serve(run);
    const commands: readonly Command[] = [
      { title: 'true', image: 'base', argv: ['true'], jobs: trues },
      {
        title: 'python3 -c pass',
        image: 'python',
        argv: ['python3', '-c', 'pass'],
        jobs: pythons,
      },
    ];
    const [ofTrue, ofPython] = [
      await compare(server, commands[0] as Command, rounds),
      await compare(server, commands[1] as Command, rounds),
    ];
    return {
      tables: [
        {
          title: 'isolation: group',
          columns: RATE_COLUMNS,
          rows: [...ofTrue.rows, ...ofPython.rows],
        },
        {
          title: 'processor time of a true',
          columns: ['ms'],
          rows: await processorTime(server, trues),
        },
      ],
      targets: [
        atLeast('true', median(ofTrue.rates), 400, ' /s'),
        atLeast('python3 -c pass, beside plain spawns', ofPython.ofPlain, 0.8, ' ×'),
      ],
      notes: [
        `${rounds} rounds, jobs and plain spawns in turn, after one batch of warm-up. The client and the server share the cores.`,
      ],
    };
  },
};

async function compare(server: Served, command: Command, rounds: number): Promise<Compared> {
  const { title, argv, jobs } = command;
  const plain = (): Promise<void> => plainProcess(argv);
  const burst = Math.ceil(jobs / 10);
  await batchOf(server, { ...command, jobs: burst });
  const atOnce = await bestParallelism(PARALLELISMS, burst, plain);
  const rates: number[] = [];
  const plainRates: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await untilPoolFull(server.api);
    rates.push((jobs / (await batchOf(server, command))) * 1000);
    plainRates.push(await rateOf(jobs, atOnce, plain));
  }
  const ofPlain = median(rates) / median(plainRates);
  return {
    rates,
    ofPlain,
    rows: [
      rateRow(title, rates, `${jobs} jobs, each on disk; ${ofPlain.toFixed(2)} × plain spawns`),
      rateRow(`${title}: plain spawns`, plainRates, `floor: no sandbox, ${atOnce} at once`),
    ],
  };
}

/** In milliseconds, from the first byte sent to the last result read. */
const batchOf = (server: Served, { image, argv, jobs }: Command): Promise<number> =>
  runBatch(
    server,
    { defaults: { image, command: [...argv], isolation: 'group' } },
    jobs,
    () => ({}),
  );

/** Where the processor time of one more batch goes: steadier than its rate on a machine that others use. */
async function processorTime(server: Served, jobs: number): Promise<Row[]> {
  const processes: Readonly<Record<string, readonly number[]>> = {
    'API and worker': [server.pid],
    Redis: [await pidOfRedis(server.redis)],
    dockerd: pidsOf('dockerd'),
    'this client': [process.pid],
  };
  const used = (pids: readonly number[]): number =>
    pids.reduce((sum, pid) => sum + processorMs(pid), 0);
  const before = Object.values(processes).map(used);
  await batchOf(server, { title: 'true', image: 'base', argv: ['true'], jobs });
  return Object.entries(processes).map(([what, pids], at) => ({
    what,
    cells: [(used(pids) - (before[at] ?? 0)) / jobs],
  }));
}
