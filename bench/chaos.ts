/**
 * `npm run chaos -- [--minutes N] [--seed S] [--every SECONDS] [--history FILE]`: faults at random under load, then what
 * became of the promises; exits with 1 where one was broken. The last line counts them: `N passed, N failed`.
 */
import { Command, InvalidArgumentError } from 'commander';
import { chaos } from '../test/faults/chaos/chaos.ts';

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly every: number;
  readonly history: string;
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

await new Command('chaos')
  .option('--minutes <n>', 'how long', positive, 3)
  .option('--seed <n>', 'what decides', positive, 1 + (Date.now() % 1_000_000))
  .option('--every <seconds>', 'from one fault to the next, on average', positive, 8)
  .option('--history <file>', 'where the history is written', '.cofferdam/chaos.ndjson')
  .action(async ({ minutes, seed, every, history }: Options) => {
    const leaving = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => leaving.abort());
    }
    say(`chaos for ${minutes} minutes, seed ${seed}, history in ${history}`);
    const { kept, verdict, struck, enginesOwn } = await chaos({
      minutes,
      seed,
      pauseMs: every * 1_000,
      historyFile: history,
      say,
      signal: leaving.signal,
    });
    say(`\nfaults: ${JSON.stringify(struck)}`);
    if (verdict !== undefined) {
      say(`work: ${JSON.stringify(verdict.counts)}`);
      say(`ends: ${JSON.stringify(verdict.outcomes)}`);
    }
    for (const [promise, against] of Object.entries(kept)) {
      say(
        `${against === undefined ? 'kept' : 'BROKEN'}: ${promise}${against ? `\n${against}` : ''}`,
      );
    }
    if (enginesOwn.length > 0) {
      say(
        `left by the killed engine itself, beyond its clients’ reach:\n  ${enginesOwn.join('\n  ')}`,
      );
    }
    const broken = Object.values(kept).filter((against) => against !== undefined).length;
    if (broken > 0)
      say(`again: npm run chaos -- --minutes ${minutes} --seed ${seed} --every ${every}`);
    say(`${Object.keys(kept).length - broken} passed, ${broken} failed`);
    process.exitCode = broken === 0 ? 0 : 1;
  })
  .parseAsync();

function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('expected a number above 0');
}
