/** `npm run bench -- NAME [--json FILE]` */
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { latency } from './latency.ts';
import { type Report, tableOf } from './report.ts';

const BENCHMARKS: Readonly<Record<string, () => Promise<Report>>> = { latency };

await new Command('bench')
  .argument('<name>', `one of ${Object.keys(BENCHMARKS).join(', ')}`)
  .option('--json <file>', 'write the figures there as well')
  .action(async (name: string, options: { json?: string }) => {
    const benchmark = BENCHMARKS[name];
    if (benchmark === undefined) {
      throw new Error(`expected one of ${Object.keys(BENCHMARKS).join(', ')}; came ${name}`);
    }
    const report = await benchmark();
    process.stdout.write(`${tableOf(report)}\n`);
    if (options.json !== undefined) {
      writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
    }
  })
  .parseAsync();
