/** `cofferdam approvals …`: jobs that wait for people's leave, and their answer. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type ApprovalSummary,
  type ApprovalView,
  approvalPage,
  approvalState,
  approvalView,
} from '../../shared/contract/approval.ts';
import { ask, columnsOf } from './ask.ts';
import type { Connection } from './client.ts';

const PAGE = 200;

interface ListFlags {
  readonly state: string;
  readonly json?: true;
}

interface ApproveFlags {
  readonly reason?: string;
  readonly edit?: Readonly<Record<string, unknown>>;
  readonly seen?: string;
}

/** What moves the cursor, hides text or turns its direction: whoever approves must see what there is. */
const MISLEADING = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** Text of strangers for a terminal: nothing in it is obeyed or hidden. */
export const plain = (text: string): string =>
  text.replace(MISLEADING, (one) => `\\u{${one.codePointAt(0)?.toString(16)}}`);

/** As people read them, one a line. */
export const showApprovals = (approvals: readonly ApprovalSummary[]): string =>
  columnsOf([
    ['ID', 'STATE', 'ASKED', 'UNTIL', 'TENANT', 'BY', 'RULE'],
    ...approvals.map((one) => [
      one.id,
      one.state,
      one.createdAt,
      one.expiresAt,
      one.tenant,
      plain(one.caller.name).replaceAll('\n', ' '),
      plain(one.rule).replaceAll('\n', ' '),
    ]),
  ]);

const decisionsOf = ({ decisions }: ApprovalView): string[] =>
  decisions.map(({ decision, by, at, reason, edit }) => {
    const what = edit.length === 0 ? decision : `${decision} with other ${edit.join(', ')}`;
    return `  ${at} ${by === null ? 'its time' : by.name}: ${what}${reason === null ? '' : `, ${reason}`}`;
  });

/** One approval with all that is approved. */
export function showApproval(one: ApprovalView): string {
  const { caller, quorum, approvers, mayEdit, batch } = one;
  const who = approvers.length === 0 ? 'whoever has policy:approve' : approvers.join(', ');
  const after = one.onExpire === 'deny' ? 'it is denied' : 'the job runs';
  return plain(
    [
      `${one.id} ${one.state}`,
      `  job          ${one.job}${batch === null ? '' : ` of ${batch}`}, tenant ${one.tenant}`,
      `  asked by     ${caller.name} (key ${caller.grant}) at ${one.createdAt}`,
      `  because      ${one.reason} (rule ${one.rule}, policy ${one.revision})`,
      `  to approve   ${quorum} of ${who}, until ${one.expiresAt}; then ${after}`,
      `  may edit     ${mayEdit.length === 0 ? 'nothing' : mayEdit.join(', ')}`,
      `  fingerprint  ${one.fingerprint}`,
      ...decisionsOf(one),
      JSON.stringify(one.request, null, 2),
    ].join('\n'),
  );
}

/** `path=value`; a value that is JSON is taken as that, any other as text. */
export function editOf(
  text: string,
  before: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError(`expected path=value; came ${text}`);
  const value = text.slice(at + 1);
  let parsed: unknown = value;
  try {
    parsed = JSON.parse(value);
  } catch {
    // Text as it is.
  }
  return { ...before, [text.slice(0, at)]: parsed };
}

const pathOf = (id: string): string => `/v1/approvals/${encodeURIComponent(id)}`;

async function listAll(server: Connection, state: string): Promise<ApprovalSummary[]> {
  const filter = state === 'all' ? '' : `&state=${state}`;
  const approvals: ApprovalSummary[] = [];
  for (let cursor = ''; ; ) {
    const path = `/v1/approvals?limit=${PAGE}${filter}${cursor}`;
    const page = await ask(server, { method: 'GET', path, answer: approvalPage });
    approvals.push(...page.approvals);
    if (page.next === null) return approvals;
    cursor = `&cursor=${encodeURIComponent(page.next)}`;
  }
}

const said = ({ id, state, job, quorum, decisions }: ApprovalView): string => {
  if (state !== 'pending') return `${id} is ${state}: ${job}\n`;
  const given = decisions.filter(({ decision }) => decision === 'approve').length;
  return `${id} waits for others: ${quorum} have to approve, ${given} said so: ${job}\n`;
};

/** `connect` is asked when a command runs: its help needs no server. */
export function addApprovalCommands(program: Command, connect: () => Connection): void {
  const group = program
    .command('approvals')
    .description('jobs that the policy wants approved before they run');

  group
    .command('list')
    .description('approvals, the newest first; decided ones for 7 days')
    .addOption(
      new Option('--state <state>', 'only those in this state')
        .choices([...approvalState.options, 'all'])
        .default('pending'),
    )
    .option('--json', 'print them as JSON')
    .action(async ({ state, json }: ListFlags) => {
      const approvals = await listAll(connect(), state);
      process.stdout.write(
        `${json ? JSON.stringify(approvals, null, 2) : showApprovals(approvals)}\n`,
      );
    });

  group
    .command('show')
    .description('one approval, with the request that it is about')
    .argument('<id>', 'the id that `approvals list` shows')
    .option('--json', 'print it as JSON')
    .action(async (id: string, { json }: { json?: true }) => {
      const view = await ask(connect(), { method: 'GET', path: pathOf(id), answer: approvalView });
      process.stdout.write(`${json ? JSON.stringify(view, null, 2) : showApproval(view)}\n`);
    });

  addDecisions(group, connect);
}

function addDecisions(group: Command, connect: () => Connection): void {
  group
    .command('approve')
    .description('let the job run, once as many have approved as have to')
    .argument('<id>', 'the id that `approvals list` shows')
    .option('--reason <text>', 'why')
    .option('--edit <path=value>', 'change what the rule lets be edited; repeatable', editOf)
    .option('--seen <fingerprint>', 'refuse if it is not what `approvals show` showed')
    .addHelpText(
      'after',
      `
Example:
  cofferdam approvals approve apr_0123456789abcdef0123456789abcdef --edit timeoutMs=60000 --reason 'a minute will do'`,
    )
    .action(async (id: string, { seen, ...body }: ApproveFlags) => {
      const headers = seen === undefined ? {} : { 'If-Match': seen };
      const path = `${pathOf(id)}/approve`;
      const asked = { method: 'POST', path, body, headers, answer: approvalView } as const;
      process.stdout.write(said(await ask(connect(), asked)));
    });

  group
    .command('deny')
    .description('end the job with the outcome `denied`')
    .argument('<id>', 'the id that `approvals list` shows')
    .requiredOption('--reason <text>', 'why; whoever asked reads it')
    .addHelpText(
      'after',
      "\nExample:\n  cofferdam approvals deny apr_0123456789abcdef0123456789abcdef --reason 'use the smaller data set'",
    )
    .action(async (id: string, body: { reason: string }) => {
      const path = `${pathOf(id)}/deny`;
      const asked = { method: 'POST', path, body, answer: approvalView } as const;
      process.stdout.write(said(await ask(connect(), asked)));
    });
}
