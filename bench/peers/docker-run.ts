/** A peer: `docker run --rm --network none`, one process of the command line a job. It is what Cofferdam replaces. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const WITHIN_MS = 60_000;

/** The operator's image behind the name, without our guest. */
const referenceOf = (image: string): string => `cofferdam-image/${image}:latest`;

export async function dockerRun(image: string, argv: readonly string[]): Promise<void> {
  const args = ['run', '--rm', '--network', 'none', referenceOf(image), ...argv];
  await promisify(execFile)('docker', args, { timeout: WITHIN_MS });
}
