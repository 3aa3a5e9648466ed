/** `cofferdam callbacks …`: what never arrived, sending it again, and the secret that receivers verify with. */
import type { Command } from 'commander';
import { z } from 'zod';
import {
  callbackSecret,
  type DeadCallback,
  deadCallbacks,
} from '../../shared/contract/callback.ts';
import { ask, columnsOf } from './ask.ts';
import { type Connection, ServerError } from './client.ts';

const MAX_LISTED = 1_000;

const listDead = async (server: Connection): Promise<DeadCallback[]> => {
  const path = `/v1/callbacks/dead?limit=${MAX_LISTED}`;
  return (await ask(server, { method: 'GET', path, answer: deadCallbacks })).callbacks;
};

/** As people read them, one a line. */
export const showDead = (callbacks: readonly DeadCallback[]): string =>
  columnsOf([
    ['ID', 'GIVEN UP', 'ATTEMPTS', 'TO', 'WHY'],
    ...callbacks.map((one) => [
      one.id,
      one.deadAt,
      String(one.attempts),
      new URL(one.url).host,
      one.reason,
    ]),
  ]);

/** `connect` is asked when a command runs: its help needs no server. */
export function addCallbackCommands(program: Command, connect: () => Connection): void {
  const group = program.command('callbacks').description('callbacks of jobs and batches');

  group
    .command('dead')
    .description('callbacks that were given up, the newest first')
    .option('--json', 'print them as JSON')
    .action(async ({ json }: { json?: true }) => {
      const dead = await listDead(connect());
      process.stdout.write(`${json ? JSON.stringify(dead, null, 2) : showDead(dead)}\n`);
    });

  group
    .command('replay')
    .description('send callbacks again that were given up')
    .argument('[ids...]', 'their ids')
    .option('--all', 'all that `callbacks dead` lists')
    .addHelpText('after', '\nExample:\n  cofferdam callbacks replay cb_job_0123456789abcdef')
    .action(async (ids: string[], { all }: { all?: true }) => {
      if (ids.length > 0 === !!all) throw new ServerError('expected ids, or --all');
      const server = connect();
      const named = all ? (await listDead(server)).map(({ id }) => id) : ids;
      for (const id of named) {
        const path = `/v1/callbacks/${encodeURIComponent(id)}/replay`;
        await ask(server, { method: 'POST', path, answer: z.strictObject({ id: z.string() }) });
        process.stdout.write(`${id}\n`);
      }
    });

  group
    .command('secret')
    .description('print what your callbacks are verified with')
    .action(async () => {
      const path = '/v1/callbacks/secret';
      const { secret } = await ask(connect(), { method: 'GET', path, answer: callbackSecret });
      process.stdout.write(`${secret}\n`);
    });
}
