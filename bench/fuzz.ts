/** `npm run fuzz -- [--count N] [--seed N]`: malformed requests to a server of its own; exits with 1 where one had an effect. */
import { Command, InvalidArgumentError } from 'commander';
import { FUZZ_ENV, fuzz } from '../test/e2e/fuzz/fire.ts';
import { callerOf, startServer } from '../test/helpers/server.ts';

const DEFAULT_COUNT = 100_000;
const MIB = 1024 ** 2;
const SHOWN_FAULTS = 50;

await new Command('fuzz')
  .option('--count <n>', 'requests', whole, DEFAULT_COUNT)
  .option('--seed <n>', 'the seed of a run, to repeat it', whole, Date.now() % 1_000_000)
  .action(async (options: { count: number; seed: number }) => {
    process.stdout.write(`${options.count} requests, seed ${options.seed}\n`);
    const server = await startServer(FUZZ_ENV);
    try {
      const { faults, statuses, peakBytes } = await fuzz(server, options);
      for (const fault of faults.slice(0, SHOWN_FAULTS)) process.stdout.write(`${fault}\n\n`);
      const { stdout } = await callerOf(server).run({ command: ['echo', 'still here'] });
      const memory = `at most ${Math.round(peakBytes / MIB)} MiB`;
      process.stdout.write(
        `${JSON.stringify(statuses)}, ${memory}, ${faults.length} faults, ${stdout}`,
      );
      process.exitCode = faults.length === 0 ? 0 : 1;
    } finally {
      await server.stop();
    }
  })
  .parseAsync();

function whole(text: string): number {
  if (/^\d{1,7}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('expected a whole number');
}
