/** `npm run bench -- NAME [--quick] [--minutes N] [--json FILE]` */
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { type Benchmark, createRun } from './benchmark.ts';
import { cancel } from './cancel.ts';
import { depth } from './depth.ts';
import { fairness } from './fairness.ts';
import { group } from './group.ts';
import { idle } from './idle.ts';
import { ingest } from './ingest.ts';
import { latency } from './latency.ts';
import { overload } from './overload.ts';
import { policy } from './policy.ts';
import { type Report, reportText } from './report.ts';
import { soak } from './soak.ts';
import { strict } from './strict.ts';
import { timeouts } from './timeouts.ts';

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  latency,
  strict,
  group,
  ingest,
  depth,
  fairness,
  cancel,
  timeouts,
  overload,
  policy,
  idle,
  soak,
};
const DEFAULT_MINUTES = 10;
const MINUTE_MS = 60_000;
const EXIT_INTERRUPTED = 130;

interface Options {
  readonly quick: boolean;
  readonly minutes: number;
  readonly json?: string;
}

await new Command('bench')
  .argument('<name>', `one of ${Object.keys(BENCHMARKS).join(', ')}`, benchmarkOf)
  .option('--quick', 'a short form, to see that it works', false)
  .option('--minutes <n>', 'how long soak lasts', minutesOf, DEFAULT_MINUTES)
  .option('--json <file>', 'write the figures there as well')
  .addHelpText('after', `\n${listText()}`)
  .action(async ([name, benchmark]: [string, Benchmark], options: Options) => {
    const report = await measure(benchmark, options);
    process.stdout.write(`${name}${options.quick ? ' (quick)' : ''}\n\n${reportText(report)}\n`);
    if (options.json !== undefined) {
      const about = { name, quick: options.quick, at: new Date().toISOString(), ...machine() };
      writeFileSync(options.json, `${JSON.stringify({ ...about, ...report }, null, 2)}\n`);
    }
  })
  .parseAsync();

/** The report; whatever was started is gone once it is there, or once the run failed, was interrupted or took too long. */
async function measure(benchmark: Benchmark, { quick, minutes }: Options): Promise<Report> {
  const { run, stop } = createRun({ isQuick: quick, minutes });
  const giveUp = (why: string): void => {
    process.stderr.write(`bench: ${why}; stopping what was started\n`);
    void stop().then(() => process.exit(EXIT_INTERRUPTED));
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => giveUp(`came ${signal}`));
  }
  process.once('uncaughtException', (error) => giveUp(error.stack ?? error.message));
  const limitMinutes = benchmark.limitMinutes + (benchmark.isAsLongAsAsked ? minutes : 0);
  const overdue = setTimeout(
    () => giveUp(`not done within ${limitMinutes} minutes`),
    limitMinutes * MINUTE_MS,
  );
  try {
    return await benchmark.measure(run);
  } finally {
    await stop();
    clearTimeout(overdue);
  }
}

function benchmarkOf(name: string): [string, Benchmark] {
  const benchmark = BENCHMARKS[name];
  if (benchmark !== undefined) return [name, benchmark];
  throw new InvalidArgumentError(`expected one of ${Object.keys(BENCHMARKS).join(', ')}`);
}

function minutesOf(text: string): number {
  if (/^\d{1,4}(\.\d+)?$/.test(text) && Number(text) > 0) return Number(text);
  throw new InvalidArgumentError('expected a number of minutes above 0');
}

function listText(): string {
  return Object.entries(BENCHMARKS)
    .map(([name, { shows }]) => `  ${name.padEnd(9)} ${shows}`)
    .join('\n');
}

function machine() {
  return {
    cores: os.availableParallelism(),
    processor: os.cpus()[0]?.model ?? '',
    memoryGib: Math.round(os.totalmem() / 1024 ** 3),
    kernel: os.release(),
    node: process.version,
  };
}
