/** A floor: the same program as a plain child process of Node, without any sandbox. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const WITHIN_MS = 60_000;

/** The program is the system's own, as in the images; not a version manager's. */
export async function plainProcess([name, ...args]: readonly [string, ...string[]]): Promise<void> {
  await promisify(execFile)(`/usr/bin/${name}`, args, { timeout: WITHIN_MS });
}
