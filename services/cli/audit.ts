/** `cofferdam audit …`: an administrator reads the audit log of a server, keeps it elsewhere, and proves that it is whole. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { type AuditRecord, auditHeads, auditPage } from '../../shared/contract/audit.ts';
import { createVerification, type Verified } from '../../shared/queue/audit-chain.ts';
import { ask } from './ask.ts';
import type { Connection } from './client.ts';

const PAGE = 1_000;
const SHOWN_FIRST = 20;
const LOOK_AGAIN_MS = 1_000;
const EXIT_BROKEN = 1;

interface Stretch {
  readonly after?: string | undefined;
  readonly before?: string | undefined;
}

async function* records(
  server: Connection,
  { after, before }: Stretch,
): AsyncGenerator<AuditRecord> {
  let from = after;
  for (;;) {
    const query = new URLSearchParams({
      limit: String(PAGE),
      ...(from === undefined ? {} : { after: from }),
      ...(before === undefined ? {} : { before }),
    });
    const page = await ask(server, {
      method: 'GET',
      path: `/v1/audit?${query}`,
      answer: auditPage,
    });
    yield* page.records;
    if (page.next === null) return;
    from = page.next;
  }
}

const newest = async (server: Connection, most: number): Promise<readonly AuditRecord[]> => {
  const path = `/v1/audit?order=newest&limit=${most}`;
  return (await ask(server, { method: 'GET', path, answer: auditPage })).records;
};

const headsOf = async (server: Connection) =>
  (await ask(server, { method: 'GET', path: '/v1/audit/heads', answer: auditHeads })).heads;

export async function verifyAudit(server: Connection): Promise<Verified> {
  const verification = createVerification(await headsOf(server));
  for await (const record of records(server, {})) verification.add(record);
  return verification.finish(await headsOf(server));
}

export function showVerified({ breaks, ...counts }: Verified): string {
  const { records: read, chains, shortened, unchained, unsealed } = counts;
  const notes = [
    shortened > 0 && `${shortened} of them without what retention has dropped`,
    unsealed > 0 && `${unsealed} not sealed by a signing key of this server`,
    unchained > 0 && `${unchained} records outside of any chain, which nothing proves`,
  ].filter((note) => note !== false);
  const what = [`${read} records, ${chains} chains`, ...notes].join('; ');
  if (breaks.length === 0) return `ok: ${what}`;
  const lines = breaks.map(
    ({ chain, position, what }) =>
      `  chain ${chain} ${position === null ? '' : `at ${position} `}- ${what}`,
  );
  return [`broken: ${what}`, ...lines].join('\n');
}

/** One line a record, for people. */
export function showRecord({ position, entry }: AuditRecord): string {
  if (entry === null) return `${position} cannot be read`;
  const who = entry.caller === null ? '(server)' : `${entry.caller.tenant}/${entry.caller.name}`;
  if (entry.kind === 'act') return `${entry.time} ${who} ${entry.act} ${entry.subject}`;
  const { batch, job, rule } = entry;
  const of = batch === null ? (job ?? '') : `${batch.id} ×${batch.count}`;
  const by = rule === null ? 'by default' : `by ${rule}`;
  return `${entry.time} ${who} ${entry.tool} ${entry.decision} ${by} ${of} ${JSON.stringify(entry.reason)}`;
}

/** A date, or a position as records have it. */
export function placeOf(text: string): string {
  if (/^\d{1,15}-\d{1,19}$/.test(text)) return text;
  const atMs = Date.parse(text);
  if (!Number.isNaN(atMs) && atMs >= 0) return String(atMs);
  throw new InvalidArgumentError(
    `expected a date such as 2026-07-01T12:00:00Z, or a position; came ${text}`,
  );
}

async function tail(
  server: Connection,
  { follow, json }: { follow?: true; json?: true },
): Promise<void> {
  const print = (record: AuditRecord): void => {
    process.stdout.write(`${json ? JSON.stringify(record) : showRecord(record)}\n`);
  };
  let last: string | undefined;
  for (const record of await newest(server, SHOWN_FIRST)) {
    print(record);
    last = record.position;
  }
  while (follow) {
    await sleep(LOOK_AGAIN_MS);
    for await (const record of records(server, { after: last })) {
      print(record);
      last = record.position;
    }
  }
}

/** `connect` is asked when a command runs: its help needs no server. */
export function addAuditCommands(program: Command, connect: () => Connection): void {
  const group = program
    .command('audit')
    .description('what was decided, and what administrators did');

  group
    .command('tail')
    .description(`the last ${SHOWN_FIRST} records`)
    .option('-f, --follow', 'and those that come')
    .option('--json', 'as JSON, one a line')
    .action((flags: { follow?: true; json?: true }) => tail(connect(), flags));

  group
    .command('export')
    .description('all records as JSON, one a line')
    .option('--after <when>', 'only those behind this date or position', placeOf)
    .option('--before <when>', 'only those before this date or position', placeOf)
    .addHelpText(
      'after',
      `
Example, what one key did:
  cofferdam audit export --after 2026-07-01 | jq -c 'select(.entry.caller.grant == "0123456789abcdef")'`,
    )
    .action(async (stretch: Stretch) => {
      for await (const record of records(connect(), stretch)) {
        const isFull = !process.stdout.write(`${JSON.stringify(record)}\n`);
        if (isFull) await new Promise((resolve) => process.stdout.once('drain', resolve));
      }
    });

  group
    .command('verify')
    .description(
      'read all records and prove that none was changed, removed, added or moved; else exit 1',
    )
    .option('--json', 'print the findings as JSON')
    .action(async ({ json }: { json?: true }) => {
      const verified = await verifyAudit(connect());
      process.stdout.write(
        `${json ? JSON.stringify(verified, null, 2) : showVerified(verified)}\n`,
      );
      if (verified.breaks.length > 0) process.exitCode = EXIT_BROKEN;
    });
}
