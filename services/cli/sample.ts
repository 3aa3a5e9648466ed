/** The first job of a new server, sent through its own API, and how to send the next one. */
import type { JobResult } from '../../shared/contract/result.ts';
import { type Connection, submitAndWait } from './client.ts';

const SAMPLE = {
  image: 'python',
  script: "import platform, sys\nprint('6 * 7 =', 6 * 7, 'on Python', platform.python_version())\n",
} as const;

export async function runSample(
  server: Connection & { keyFile: string | undefined },
): Promise<JobResult> {
  const startedAt = performance.now();
  const result = await submitAndWait(server, SAMPLE);
  const tookMs = Math.round(performance.now() - startedAt);
  const key = server.keyFile === undefined ? '$COFFERDAM_DEV_KEY' : `$(cat ${server.keyFile})`;
  process.stdout.write(`
Cofferdam is up at ${server.url}

A first job ran in a sandbox of its own, in ${tookMs} ms:
  outcome  ${JSON.stringify(result.outcome)}
  stdout   ${JSON.stringify(result.stdout)}
  usage    ${JSON.stringify(result.usage)}

Send the next one:
  npx cofferdam exec --image python -- python3 -c 'print(6*7)'

  curl -s ${server.url}/v1/jobs -H "Authorization: Bearer ${key}" \\
    -H 'Content-Type: application/json' -H 'Prefer: wait=10' \\
    -d '{"image":"python","command":["python3","-c","print(6*7)"]}'

${server.keyFile === undefined ? '' : `The key was made for this machine and is kept in ${server.keyFile}\n`}The contract: ${server.url}/openapi.json    Stop with ^C
`);
  return result;
}
