/** `cofferdam keys …`: an administrator makes, lists and revokes API keys of a server. */
import { type Command, InvalidArgumentError } from 'commander';
import {
  type ApiKeyView,
  apiKeyList,
  apiKeyView,
  type MadeApiKey,
  madeApiKey,
} from '../../shared/contract/api-key.ts';
import { SCOPES } from '../../shared/contract/policy.ts';
import { ask, columnsOf } from './ask.ts';
import type { Connection } from './client.ts';

interface CreateFlags {
  readonly tenant: string;
  readonly name: string;
  readonly scope: readonly string[];
  readonly expires?: string;
  readonly json?: true;
}

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 24 * 3_600_000 } as const;

/** `30d`, `12h`, `15m`, `90s` from now, or a time, as the contract writes one. */
export function expiryOf(text: string, nowMs = Date.now()): string {
  const [, count, unit] = text.match(/^([1-9]\d{0,5})([smhd])$/) ?? [];
  const atMs =
    count === undefined
      ? Date.parse(text)
      : nowMs + Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  if (!Number.isNaN(atMs)) return new Date(atMs).toISOString();
  throw new InvalidArgumentError(
    `expected a time from now such as 30d, 12h, 15m or 90s, or a date; came ${text}`,
  );
}

const some = (value: string, before: readonly string[] = []): string[] => [...before, value];

const makeKey = (server: Connection, flags: CreateFlags): Promise<MadeApiKey> => {
  const { tenant, name, scope: scopes, expires: expiresAt = null } = flags;
  const body = { tenant, name, scopes, expiresAt };
  return ask(server, { method: 'POST', path: '/v1/keys', body, answer: madeApiKey });
};

const stateOf = ({ revokedAt, expiresAt }: ApiKeyView, nowMs: number): string => {
  if (revokedAt !== null) return `revoked ${revokedAt}`;
  if (expiresAt === null) return 'valid';
  return `${Date.parse(expiresAt) <= nowMs ? 'expired' : 'valid until'} ${expiresAt}`;
};

/** As people read them, one a line. */
export const showKeys = (keys: readonly ApiKeyView[], nowMs: number): string =>
  columnsOf([
    ['ID', 'TENANT', 'NAME', 'SCOPES', 'STATE', 'LAST USED'],
    ...keys.map((key) => [
      key.id,
      key.tenant,
      key.name,
      key.scopes.join(','),
      stateOf(key, nowMs),
      key.lastUsedAt ?? 'never',
    ]),
  ]);

/** `connect` is asked when a command runs: its help needs no server. */
export function addKeyCommands(program: Command, connect: () => Connection): void {
  const group = program.command('keys').description('API keys: who may call, and what');

  group
    .command('create')
    .description('make a key, and print it: it is shown this once')
    .requiredOption('--tenant <name>', 'whose jobs, batches and blobs it reaches')
    .requiredOption('--name <text>', 'whom it is for, such as user:ann@example.com')
    .requiredOption('--scope <scope>', `what it may do; repeatable: ${SCOPES.join(', ')}`, some)
    .option('--expires <when>', 'when it ends: 30d, 12h, 15m, 90s from now, or a date', (text) =>
      expiryOf(text),
    )
    .option('--json', 'print the key and what is known of it as JSON')
    .addHelpText(
      'after',
      `
Example:
  cofferdam keys create --tenant default --name agent:ci --scope exec:run --scope exec:read --expires 30d

Its holder gives it to the command line as COFFERDAM_DEV_KEY, to the API as \`Authorization: Bearer <key>\`.`,
    )
    .action(async (flags: CreateFlags) => {
      const made = await makeKey(connect(), flags);
      if (flags.json) return void process.stdout.write(`${JSON.stringify(made, null, 2)}\n`);
      process.stderr.write(`id ${made.id}, ${stateOf(made, Date.now())}\n`);
      process.stdout.write(`${made.key}\n`);
    });

  group
    .command('list')
    .description('keys, the newest first; revoked and expired ones for 30 days')
    .option('--tenant <name>', 'only those of this tenant')
    .option('--json', 'print them as JSON')
    .action(async ({ tenant, json }: { tenant?: string; json?: true }) => {
      const query = tenant === undefined ? '' : `?tenant=${encodeURIComponent(tenant)}`;
      const path = `/v1/keys${query}`;
      const { keys } = await ask(connect(), { method: 'GET', path, answer: apiKeyList });
      process.stdout.write(
        `${json ? JSON.stringify(keys, null, 2) : showKeys(keys, Date.now())}\n`,
      );
    });

  group
    .command('revoke')
    .description('end a key; within a second no process lets it in')
    .argument('<id>', 'the id that `keys list` shows')
    .action(async (id: string) => {
      const path = `/v1/keys/${encodeURIComponent(id)}`;
      const key = await ask(connect(), { method: 'DELETE', path, answer: apiKeyView });
      process.stdout.write(`${key.id} of ${key.name}: ${stateOf(key, Date.now())}\n`);
    });
}
