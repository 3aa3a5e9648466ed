/** The `cofferdam` command as a process of its own. */
import { spawn } from 'node:child_process';
import path from 'node:path';

const MAIN = path.resolve(import.meta.dirname, '../../dist/services/cli/main.js');
const WITHIN_MS = 60_000;

export interface CommandProcess {
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  /** Its exit code; it is killed when it takes longer than a minute. */
  readonly exitCode: Promise<number | null>;
}

/** Starts it with these settings alone: none of the environment of the tests reaches it. */
export function cofferdam(
  args: readonly string[],
  options: { env?: Readonly<Record<string, string>>; cwd?: string; stdin?: string } = {},
): CommandProcess {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('COFFERDAM_'));
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...Object.fromEntries(inherited), ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: 'pipe',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes.toString();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  child.stdin.on('error', () => {});
  child.stdin.end(options.stdin ?? '');
  const overdue = setTimeout(() => child.kill('SIGKILL'), WITHIN_MS);
  const exitCode = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(overdue);
      resolve(code);
    });
  });
  return {
    pid: child.pid as number,
    stdout: () => stdout,
    stderr: () => stderr,
    kill: (signal) => child.kill(signal),
    exitCode,
  };
}

/** Runs it to its end. */
export async function run(
  args: readonly string[],
  options: Parameters<typeof cofferdam>[1] = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const command = cofferdam(args, options);
  const code = await command.exitCode;
  return { code, stdout: command.stdout(), stderr: command.stderr() };
}
