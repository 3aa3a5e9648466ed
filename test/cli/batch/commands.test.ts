import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { addBatchCommands, headerOf } from '../../../services/cli/batch/commands.ts';
import { batchOptions } from '../../../shared/contract/batch.ts';

describe('the options of a batch', () => {
  it('are none where none are given', () => {
    expect(headerOf({ output: '-' })).toEqual({});
  });

  it('are ones that the contract takes', () => {
    const header = headerOf({
      output: '-',
      image: 'python',
      group: true,
      maxParallel: 3,
      stopOnFirstFailure: true,
      skipInvalid: true,
      key: 'k',
    });
    expect(header).toEqual({
      defaults: { image: 'python', isolation: 'group' },
      onInvalid: 'skip',
      maxParallel: 3,
      stopOnFirstFailure: true,
    });
    expect(batchOptions.safeParse(header).success).toBe(true);
  });

  it.each(['0', '-1', '1.5', 'many', ''])('refuse %j jobs at once', async (text) => {
    const program = new Command().exitOverride();
    const connect = () => {
      throw new Error('nobody is asked');
    };
    addBatchCommands(program, connect);
    const quiet = { writeErr: () => {} };
    for (const command of [program, ...program.commands.flatMap((one) => [one, ...one.commands])])
      command.exitOverride().configureOutput(quiet);
    const parsing = program.parseAsync(['batch', 'run', '--max-parallel', text, 'x'], {
      from: 'user',
    });
    await expect(parsing).rejects.toThrow(/expected a whole number from 1/);
  });
});
