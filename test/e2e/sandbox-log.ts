/** Which sandbox a job had, as the worker logs it: nothing that a caller sees tells. */
import type { ServerProcess } from '../helpers/server.ts';
import { until } from './watching.ts';

/** Nothing is made ahead: a group gets a second sandbox only where two of its jobs run at once. */
export const NO_SPARES = { COFFERDAM_POOL_READY: '0', COFFERDAM_POOL_MAX_READY: '0' } as const;

/** Job → sandbox, of all jobs that have ended so far. */
export function sandboxesByJob(server: Pick<ServerProcess, 'log'>): Map<string, string> {
  const lines = server.log().matchAll(/^\{.*"msg":"job ended"\}$/gm);
  return new Map(
    [...lines].map(([line]) => {
      const { job, sandbox } = JSON.parse(line) as { job: string; sandbox: string };
      return [job, sandbox];
    }),
  );
}

/** The result is out a moment before the line. */
export const sandboxOf = (server: Pick<ServerProcess, 'log'>, job: string): Promise<string> =>
  until(`the log names the sandbox of ${job}`, 10_000, () => sandboxesByJob(server).get(job));
