/** The engine as the tests see it: by its command line, apart from the code under test. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const WITHIN_MS = 30_000;

/** Runs `docker …` and returns what it printed. */
export async function docker(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('docker', args, { timeout: WITHIN_MS });
  return stdout.trim();
}

/** Ids of the sandboxes on this engine; of one worker when its id is given. */
export async function sandboxes(worker?: string): Promise<string[]> {
  const label = worker === undefined ? 'cofferdam.nonce' : `cofferdam.worker=${worker}`;
  // Not `removing`: this engine may list a container so for ever that is gone.
  const states = ['created', 'running', 'paused', 'exited', 'dead'];
  const filters = states.flatMap((state) => ['--filter', `status=${state}`]);
  const ids = await docker('ps', '-aq', '--filter', `label=${label}`, ...filters);
  return ids === '' ? [] : ids.split('\n');
}
