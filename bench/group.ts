/**
 * Volume where jobs of one batch may share sandboxes, one after another: `true`, and Python beside plain spawns of it
 * from a loop on the host at the loop's best parallelism, which is the floor.
 */
import { runBatch } from './batches.ts';
import type { Benchmark } from './benchmark.ts';
import { type Client, serve, untilPoolFull } from './cofferdam.ts';
import { bestParallelism, rateOf } from './load.ts';
import { plainProcess } from './peers/plain-process.ts';
import { atLeast } from './report.ts';
import { median } from './times.ts';

const PARALLELISMS = [1, 2, 3, 4];
const PYTHON: readonly [string, ...string[]] = ['python3', '-c', 'pass'];

export const group: Benchmark = {
  shows: 'jobs that share sandboxes in a batch; Python beside plain spawns',
  limitMinutes: 6,
  async measure(run) {
    const rounds = run.isQuick ? 1 : 3;
    const [trues, pythons, burst] = run.isQuick ? [1_000, 200, 40] : [5_000, 1_000, 100];
    const client = await serve(run);
    const python = (): Promise<void> => plainProcess(PYTHON);
    const rateOfBatch = async (image: string, command: readonly string[], count: number) => {
      await untilPoolFull(client.api);
      return rateOfGroup(client, { image, command: [...command] }, count);
    };
    // Warm-up: the Python image has no sandbox ready before its first job.
    await rateOfBatch('base', ['true'], burst);
    await rateOfBatch('python', PYTHON, burst);
    const atOnce = await bestParallelism(PARALLELISMS, burst, python);

    const rates: Record<'trues' | 'pythons' | 'plain', number[]> = {
      trues: [],
      pythons: [],
      plain: [],
    };
    for (let round = 0; round < rounds; round++) {
      rates.trues.push(await rateOfBatch('base', ['true'], trues));
      rates.pythons.push(await rateOfBatch('python', PYTHON, pythons));
      rates.plain.push(await rateOf(pythons, atOnce, python));
    }
    const ofPlain = median(rates.pythons) / median(rates.plain);
    const row = (what: string, values: readonly number[], note: string) => ({
      what,
      cells: [median(values), Math.min(...values), Math.max(...values)],
      note,
    });
    return {
      tables: [
        {
          title: 'isolation: group',
          columns: ['median /s', 'least', 'most'],
          rows: [
            row('true', rates.trues, `${trues} jobs, HTTP in, results out, each on disk`),
            row(
              'python3 -c pass',
              rates.pythons,
              `${pythons} jobs, ${ofPlain.toFixed(2)} × plain spawns`,
            ),
            row(
              'python3 -c pass: plain spawns',
              rates.plain,
              `floor: no sandbox, ${atOnce} at once`,
            ),
          ],
        },
      ],
      targets: [
        atLeast('true', median(rates.trues), 400, ' /s'),
        atLeast('python3 -c pass, beside plain spawns', ofPlain, 0.8, ' ×'),
      ],
      notes: [`${rounds} rounds, in turn. The client and the server share the cores.`],
    };
  },
};

async function rateOfGroup(
  client: Client,
  job: { image: string; command: string[] },
  count: number,
): Promise<number> {
  const defaults = { ...job, isolation: 'group' as const };
  return (count / (await runBatch(client, { defaults }, count, () => ({})))) * 1000;
}
