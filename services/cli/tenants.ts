/** `cofferdam tenants …`: an administrator lists, sets and removes the tenants of a server. */
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { type TenantView, tenantList, tenantView } from '../../shared/contract/tenant.ts';
import { ask, columnsOf } from './ask.ts';
import type { Connection } from './client.ts';

interface SetFlags {
  readonly weight?: number;
  readonly maxOpenJobs?: number;
  readonly maxRunningJobs?: number;
  readonly maxBlobBytes?: number;
}

/** What a number may be, the server says. */
function number(text: string): number {
  if (/^\d{1,15}(\.\d{1,6})?$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`expected a number; came ${text}`);
}

const pathOf = (name: string): string => `/v1/tenants/${encodeURIComponent(name)}`;
const boundOf = (bound: number | null): string => (bound === null ? '-' : String(bound));

/** As people read them, one a line; `-` where the server's settings stand. */
export const showTenants = (tenants: readonly TenantView[]): string =>
  columnsOf([
    ['NAME', 'WEIGHT', 'OPEN JOBS', 'RUNNING JOBS', 'BLOB BYTES', 'SET'],
    ...tenants.map((one) => [
      one.name,
      String(one.weight),
      boundOf(one.maxOpenJobs),
      boundOf(one.maxRunningJobs),
      boundOf(one.maxBlobBytes),
      one.isFixed ? 'by the server' : 'over HTTP',
    ]),
  ]);

/** `connect` is asked when a command runs: its help needs no server. */
export function addTenantCommands(program: Command, connect: () => Connection): void {
  const group = program.command('tenants').description('tenants: their share and their bounds');
  const print = (tenants: readonly TenantView[], isJson: boolean): void => {
    process.stdout.write(`${isJson ? JSON.stringify(tenants, null, 2) : showTenants(tenants)}\n`);
  };

  group
    .command('list')
    .description('tenants, by name')
    .option('--json', 'print them as JSON')
    .action(async ({ json }: { json?: true }) => {
      const path = '/v1/tenants';
      const { tenants } = await ask(connect(), { method: 'GET', path, answer: tenantList });
      print(tenants, !!json);
    });

  group
    .command('set')
    .description('make a tenant or set it anew; what is left out is as it is by default')
    .argument('<name>', 'lower-case letters, digits, dashes')
    .option('--weight <n>', 'share of a busy queue, beside others of weight 1', number)
    .option('--max-open-jobs <n>', 'jobs waiting or running, at most', number)
    .option('--max-running-jobs <n>', 'jobs running at once, at most', number)
    .option('--max-blob-bytes <n>', 'bytes of its blobs together, at most', number)
    .addHelpText(
      'after',
      '\nExample:\n  cofferdam tenants set research --weight 2 --max-running-jobs 4',
    )
    .action(async (name: string, body: SetFlags) => {
      const path = pathOf(name);
      print([await ask(connect(), { method: 'PUT', path, body, answer: tenantView })], false);
    });

  group
    .command('remove')
    .description('remove a tenant and revoke its keys')
    .argument('<name>', 'one that was set over HTTP')
    .action(async (name: string) => {
      await ask(connect(), { method: 'DELETE', path: pathOf(name), answer: z.undefined() });
      process.stdout.write(`${name} is removed, and its keys are revoked\n`);
    });
}
