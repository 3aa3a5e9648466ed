/** `cofferdam batch …`: its commands, arguments and help. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Connection } from '../client.ts';
import type { BatchHeader } from './input.ts';
import { cancelBatch, showStatus } from './look.ts';
import { showResultsOf } from './results.ts';
import { runBatch } from './run.ts';

interface RunFlags {
  readonly output: string;
  readonly image?: string;
  readonly group?: true;
  readonly maxParallel?: number;
  readonly stopOnFirstFailure?: true;
  readonly skipInvalid?: true;
  readonly key?: string;
}

function wholeNumber(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`expected a whole number from 1; came ${text}`);
}

/** The options of the batch that a command line asks for. */
export function headerOf(flags: RunFlags): BatchHeader {
  const defaults = {
    ...(flags.image === undefined ? {} : { image: flags.image }),
    ...(flags.group ? { isolation: 'group' } : {}),
  };
  return {
    ...(Object.keys(defaults).length === 0 ? {} : { defaults }),
    ...(flags.skipInvalid ? { onInvalid: 'skip' } : {}),
    ...(flags.maxParallel === undefined ? {} : { maxParallel: flags.maxParallel }),
    ...(flags.stopOnFirstFailure ? { stopOnFirstFailure: true } : {}),
  };
}

const RUN_HELP = `
A line is one job, as POST /v1/jobs takes it:
  {"key": "case-1", "command": ["echo", "1"]}

Examples:
  cofferdam batch run jobs.ndjson -o results.ndjson --image python
  generate | cofferdam batch run - | jq .exitCode

With -o FILE the same command goes on after ^C, a crash or a lost connection.

Exit codes: 0 every job exited with 0; 1 some did not, or were refused; 125 some were lost, cancelled or
expired, or the server was lost; 130 stopped by ^C.`;

/** `connect` is asked when a command runs: its help needs no server. */
export function addBatchCommands(program: Command, connect: () => Connection): void {
  const exits = async (code: Promise<number>): Promise<void> => {
    process.exitCode = await code;
  };
  const batch = program.command('batch').description('many jobs from a file, and their results');

  batch
    .command('run')
    .description('send jobs, one a line, and follow their results to the end')
    .argument('<jobs>', 'file with one job a line; - for standard input')
    .option('-o, --output <file>', 'where the results go; - for standard output', '-')
    .option('--image <name>', 'image of jobs that name none')
    .option('--group', 'let jobs of this batch use sandboxes one after another')
    .option('--max-parallel <n>', 'jobs of this batch that run at once, at most', wholeNumber)
    .option('--stop-on-first-failure', 'cancel the rest once a job does not exit with 0')
    .option('--skip-invalid', 'leave out jobs that are refused')
    .option('--key <text>', 'Idempotency-Key of the upload')
    .addHelpText('after', RUN_HELP)
    .action((file: string, flags: RunFlags) => {
      const { output, key } = flags;
      const options = { output, header: headerOf(flags), ...(key === undefined ? {} : { key }) };
      return exits(runBatch(connect(), file, options));
    });

  batch
    .command('status')
    .description('counts of a batch, by state and outcome')
    .argument('<id>', 'id of the batch')
    .option('--json', 'print them as JSON')
    .option('--wait', 'until it is over; exit as `batch run` does')
    .action((id: string, flags: { json?: true; wait?: true }) =>
      exits(showStatus(connect(), id, { isJson: !!flags.json, isWaiting: !!flags.wait })),
    );

  batch
    .command('results')
    .description('results so far, one a line, in order of completion')
    .argument('<id>', 'id of the batch')
    .option('-o, --output <file>', 'where they go; a file with some is continued', '-')
    .option('--follow', 'until the batch is over; exit as `batch run` does')
    .action((id: string, flags: { output: string; follow?: true }) =>
      exits(showResultsOf(connect(), id, { output: flags.output, isFollowing: !!flags.follow })),
    );

  batch
    .command('cancel')
    .description('cancel every job of a batch that has not ended')
    .argument('<id>', 'id of the batch')
    .action((id: string) => exits(cancelBatch(connect(), id)));
}
