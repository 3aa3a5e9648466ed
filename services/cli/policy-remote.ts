/** `cofferdam policy show|check`: asks a server what is in force there, and what it would decide. */
import type { Command } from 'commander';
import { TOOLS } from '../../shared/contract/policy.ts';
import { type PolicyCheck, policyCheck } from '../../shared/contract/policy-check.ts';
import { type PolicyView, policyView } from '../../shared/contract/policy-view.ts';
import { ask } from './ask.ts';
import type { Connection } from './client.ts';
import { wholeNumber } from './exec.ts';

const EXIT_FAILED = 1;

interface CheckFlags {
  readonly tool: string;
  readonly image?: string;
  readonly timeout?: string;
  readonly memory?: string;
  readonly args?: string;
  readonly json?: boolean;
}

/** The document alone would not say where it came from. */
export function showPolicy({ document, problems, ...about }: PolicyView): string {
  const by = about.by === null ? '' : ` (${about.by})`;
  return [
    `# ${about.name}, revision ${about.revision}, mode ${about.mode}`,
    `# from ${about.source}${by}, in force since ${about.since}`,
    ...problems.map((problem) => `# NOT THE NEWEST: ${problem}`),
    JSON.stringify(document, null, 2),
  ].join('\n');
}

export function showCheck(checked: PolicyCheck): string {
  const { decision, rule, reason, retryAfterMs, limitsLeft, revision } = checked;
  const by = rule === null ? 'the default' : `the rule ${rule}`;
  const when = retryAfterMs === null ? [] : [`retry in ${Math.ceil(retryAfterMs / 1000)} s`];
  return [
    `${decision} by ${by}: ${reason}`,
    ...when,
    ...limitsLeft.map((limit) => {
      const window = limit.windowMs === null ? 'at once' : `in ${limit.windowMs / 1000} s`;
      return `${limit.rule}: ${limit.left} of ${limit.max} left after this call (${limit.counts} ${window})`;
    }),
    `revision ${revision}`,
  ].join('\n');
}

/** What the tool would be called with: `--args` as it is, with the words and flags of a command on top. */
export function argsOf(command: readonly string[], flags: CheckFlags): Record<string, unknown> {
  const given = flags.args === undefined ? {} : parseArgs(flags.args);
  const limits =
    flags.memory === undefined ? {} : { memoryMb: wholeNumber(flags.memory, '--memory') };
  return {
    ...given,
    ...(command.length > 0 ? { command } : {}),
    ...(flags.image === undefined ? {} : { image: flags.image }),
    ...(flags.timeout === undefined ? {} : { timeoutMs: wholeNumber(flags.timeout, '--timeout') }),
    ...(flags.memory === undefined ? {} : { limits: { ...asObject(given.limits), ...limits } }),
  };
}

const asObject = (value: unknown): object =>
  typeof value === 'object' && value !== null ? value : {};

function parseArgs(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch {}
  throw new Error(`--args: expected a JSON object; came ${text}`);
}

const checkCall = (
  server: Connection,
  tool: string,
  args: Record<string, unknown>,
): Promise<PolicyCheck> =>
  ask(server, {
    method: 'POST',
    path: '/v1/policy/check',
    body: { tool, args },
    answer: policyCheck,
  });

/** Joins the parts that ask a server to `cofferdam policy`. */
export function addRemotePolicyCommands(policy: Command, connect: () => Connection): void {
  policy
    .command('show')
    .description('print the document that a server has in force, and where it came from')
    .option('--json', 'print the whole answer as JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const view = await ask(connect(), { method: 'GET', path: '/v1/policy', answer: policyView });
      process.stdout.write(`${json ? JSON.stringify(view, null, 2) : showPolicy(view)}\n`);
    });

  policy
    .command('check')
    .description('ask a server what it would decide of a call; runs and spends nothing')
    .argument('[command...]', 'the program and its arguments, after --')
    .option('--tool <name>', `one of ${TOOLS.join(', ')}`, 'exec')
    .option('--image <name>', 'image to run it in')
    .option('--timeout <ms>', 'wall-clock limit in milliseconds')
    .option('--memory <mb>', 'memory limit in MiB')
    .option('--args <json>', 'the whole request as a JSON object')
    .option('--json', 'print the whole answer as JSON')
    .addHelpText(
      'after',
      `
Example:
  cofferdam policy check -- curl http://example.com

Exit code: 0 when the call would be made, 1 when not.`,
    )
    .action(async (command: string[], flags: CheckFlags) => {
      const checked = await checkCall(connect(), flags.tool, argsOf(command, flags));
      process.stdout.write(
        `${flags.json ? JSON.stringify(checked, null, 2) : showCheck(checked)}\n`,
      );
      if (checked.decision !== 'allow') process.exitCode = EXIT_FAILED;
    });
}
