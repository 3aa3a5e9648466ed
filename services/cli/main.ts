#!/usr/bin/env node
/** The `cofferdam` command. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { packageRoot } from '../../shared/images.ts';
import { addApprovalCommands } from './approvals.ts';
import { addAuditCommands } from './audit.ts';
import { addBatchCommands } from './batch/commands.ts';
import { putBlob } from './blob.ts';
import { addCallbackCommands } from './callbacks.ts';
import { connectionFrom } from './client.ts';
import { examine } from './doctor.ts';
import { type ExecOptions, runExec } from './exec.ts';
import { showFindings } from './finding.ts';
import { addKeyCommands } from './keys.ts';
import { runLogs } from './logs.ts';
import { runMcp } from './mcp.ts';
import { addPolicyCommands } from './policy.ts';
import { addRemotePolicyCommands } from './policy-remote.ts';
import { isWorkerAlive, runApi, runServe, runWorker } from './processes.ts';
import { examineSecurity } from './security/examine-security.ts';
import { addTenantCommands } from './tenants.ts';

const { version } = JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8')) as {
  version: string;
};

const EXIT_FAILED = 1;
const many = (value: string, before: string[] = []): string[] => [...before, value];

const program = new Command('cofferdam')
  .description('Runs untrusted commands in ephemeral sandboxes and keeps their results.')
  .version(version)
  .showHelpAfterError();

program
  .command('serve')
  .description('API, worker and an embedded Redis in one process tree')
  .option('--sample', 'run a first job and show how to send the next one')
  .addHelpText('after', '\nExample:\n  COFFERDAM_PORT=8080 cofferdam serve')
  .action((options: { sample?: boolean }) =>
    runServe(process.env, { sample: options.sample ?? false }),
  );

program
  .command('api')
  .description('the API alone, on a shared Redis (COFFERDAM_REDIS_URL)')
  .action(() => runApi(process.env));

program
  .command('worker')
  .description('a worker alone, on a shared Redis (COFFERDAM_REDIS_URL)')
  .option('--check', 'start nothing; exit 0 if a worker on this host is alive, else 1')
  .action(async (options: { check?: boolean }) => {
    if (!options.check) return runWorker(process.env);
    process.exitCode = (await isWorkerAlive(process.env)) ? 0 : EXIT_FAILED;
  });

program
  .command('mcp')
  .description('the tools of MCP on stdin and stdout, for clients that start their servers')
  .addHelpText(
    'after',
    `
With COFFERDAM_URL and a key (COFFERDAM_DEV_KEY) it speaks to that server; without, it starts one of its own, with its
data in COFFERDAM_DATA_DIR. docs/mcp.md shows how clients are told of it.`,
  )
  .action(() => runMcp(process.env));

program
  .command('exec')
  .description('run one command in a sandbox, and exit as it does')
  .argument('<command...>', 'the program and its arguments, after --')
  .option('--image <name>', 'image to run it in')
  .option('--file <[there=]here>', 'file to lay out in /work; repeatable', many)
  .option('--collect <glob>', 'files beneath /work to bring back; repeatable', many)
  .option('-o, --output <folder>', 'where collected files are saved', '.')
  .option('--env <name=value>', 'environment variable; repeatable', many)
  .option('--label <name=value>', 'label of the job; repeatable', many)
  .option('-i, --stdin', 'send standard input')
  .option('--timeout <ms>', 'wall-clock limit in milliseconds')
  .option('--memory <mb>', 'memory limit in MiB')
  .option('--json', 'print the whole result as JSON')
  .addHelpText(
    'after',
    `
Example:
  cofferdam exec --image python --file a.py --collect 'out/*' -- python3 a.py

Exit codes: the program's own; 128+n when signal n ended it; 124 timed out; 137 out of memory;
126, 127 could not be executed or found; 125 no verdict (denied, lost, cancelled, expired); 130 ^C, which cancels the job;
1 refused. A job that the policy wants approved is waited for, and says so.`,
  )
  .action(async (command: string[], options: ExecOptions) => {
    process.exitCode = await runExec(connectionFrom(process.env), command, options);
  });

addBatchCommands(program, () => connectionFrom(process.env));
addRemotePolicyCommands(addPolicyCommands(program, process.env), () => connectionFrom(process.env));
addKeyCommands(program, () => connectionFrom(process.env));
addAuditCommands(program, () => connectionFrom(process.env));
addTenantCommands(program, () => connectionFrom(process.env));
addCallbackCommands(program, () => connectionFrom(process.env));
addApprovalCommands(program, () => connectionFrom(process.env));

program
  .command('blob')
  .description('content that many jobs share')
  .command('put')
  .description('send a file, and print the name that jobs use for it')
  .argument('<file>', 'the file')
  .addHelpText(
    'after',
    `
Example:
  cofferdam blob put harness.tar   # prints sha256:…, for {"files": [{"path": "h.tar", "blob": "sha256:…"}]}`,
  )
  .action(async (file: string) => {
    process.stdout.write(`${await putBlob(connectionFrom(process.env), file)}\n`);
  });

program
  .command('logs')
  .description('print what a job has written')
  .argument('<id>', 'the id of the job')
  .option('-f, --follow', 'until its end, and exit as exec would')
  .action(async (id: string, options: { follow?: boolean }) => {
    const follow = options.follow ?? false;
    process.exitCode = await runLogs(connectionFrom(process.env), id, { follow });
  });

program
  .command('doctor')
  .description('check the engine, Redis, images and settings, and say how to mend them')
  .option('--security', 'look at what holds hostile jobs instead: versions, kernel, engine, Redis')
  .option('--json', 'print the findings as JSON')
  .action(async (options: { json?: boolean; security?: boolean }) => {
    const findings = await (options.security ? examineSecurity : examine)(process.env);
    process.stdout.write(
      `${options.json ? JSON.stringify(findings, null, 2) : showFindings(findings)}\n`,
    );
    if (findings.some(({ state }) => state === 'fault')) process.exitCode = EXIT_FAILED;
  });

program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`cofferdam: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(EXIT_FAILED);
});
