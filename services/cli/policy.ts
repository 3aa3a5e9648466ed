/** `cofferdam policy …`: looks at a document, without a server. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { parseSettings } from '../../shared/config/settings.ts';
import { readCatalogue } from '../../shared/images.ts';
import { runDocumentTests } from '../api/policy/document-tests.ts';
import { showFaults } from '../api/policy/fault.ts';
import { loadPolicy } from '../api/policy/load.ts';
import type { Policy } from '../api/policy/policy.ts';
import { resolve } from '../api/policy/resolve.ts';

type Env = Readonly<Record<string, string | undefined>>;

const EXIT_FAILED = 1;

export interface Said {
  readonly text: string;
  readonly exitCode: number;
}

/** Throws an Error that holds every fault of the document. */
export async function readPolicy(file: string): Promise<Policy> {
  const text = await readFile(file, 'utf8').catch((cause: Error) => {
    throw new Error(`${file} cannot be read: ${cause.message}`, { cause });
  });
  const loaded = loadPolicy(text);
  if ('policy' in loaded) return loaded.policy;
  throw new Error(`${file} is not usable:\n${showFaults(loaded.faults)}`);
}

export async function validatePolicy(file: string): Promise<Said> {
  const { name, revision, tests } = await readPolicy(file);
  const text = `${file}: the policy ${name} is valid; revision ${revision}, ${tests.length} tests`;
  return { text, exitCode: 0 };
}

/** The ceilings and images are those that a server with these settings has. */
export async function testPolicy(file: string, env: Env): Promise<Said> {
  const policy = await readPolicy(file);
  const settings = parseSettings(env);
  const rules = {
    limits: settings.limits,
    defaultImage: settings.defaultImage,
    runtimes: settings.runtimes,
    catalogue: readCatalogue(settings.imagesFile),
  };
  const results = runDocumentTests(policy, (request) => resolve(request, rules));
  const lines = results.map(({ name, failure }) =>
    failure === null ? `ok      ${name}` : `FAILED  ${name}: ${failure}`,
  );
  const failed = results.filter(({ failure }) => failure !== null).length;
  const end = `${results.length - failed} of ${results.length} tests passed`;
  return { text: [...lines, end].join('\n'), exitCode: failed > 0 ? EXIT_FAILED : 0 };
}

/** Returns the command, for those of its parts that ask a server. */
export function addPolicyCommands(program: Command, env: Env): Command {
  const say = async (answer: Promise<Said>): Promise<void> => {
    const { text, exitCode } = await answer;
    process.stdout.write(`${text}\n`);
    process.exitCode = exitCode;
  };
  const policy = program.command('policy').description('what callers may do, as a document says');

  policy
    .command('validate')
    .description('say what is wrong in a document; exit 1 if anything is')
    .argument('<file>', 'the document, YAML or JSON; also in a foreign form (see docs/policy.md)')
    .action((file: string) => say(validatePolicy(file)));

  policy
    .command('test')
    .description('run the tests that a document brings along; exit 1 if one fails')
    .argument('<file>', 'the document')
    .addHelpText(
      'after',
      `
Ceilings and images are those of the settings in the environment, as the server's are.

Example:
  cofferdam policy test docs/policies/example.yaml`,
    )
    .action((file: string) => say(testPolicy(file, env)));

  return policy;
}
