/** Trials whose workers have an engine that may be broken: one of their own. */
import path from 'node:path';
import type { JobResult } from '../../../shared/contract/result.ts';
import { until } from '../../e2e/watching.ts';
import { type Client, nonceJob } from './client.ts';
import type { PrivateDockerd } from './private-dockerd.ts';
import { startTrial, type Trial, type TrialOptions } from './trial.ts';

/** What an engine's return to work may take. */
export const SLOTS_BACK_MS = 30_000;
const FAR_TOO_LONG_MS = 120_000;

export function startEngineTrial(
  dockerd: PrivateDockerd,
  options: TrialOptions = {},
): Promise<Trial> {
  const { folder, name } = dockerd.host;
  const engine = {
    socket: dockerd.address,
    root: path.join(folder, 'data'),
    run: path.join(folder, 'exec'),
    groups: `${name}/cofferdam`,
    pid: () => dockerd.pid,
  };
  return startTrial({ ...options, engine });
}

/** Milliseconds until as many jobs at once as a worker has slots have run to their end. */
export async function untilSlotsWork(client: Client, slots = 2): Promise<number> {
  const sinceMs = Date.now();
  const jobs = Array.from({ length: slots }, () => nonceJob('sleep 0.5'));
  const ids = await Promise.all(jobs.map((job) => client.submitSurely(job)));
  for (const id of ids) await resultOf(client, id);
  return Date.now() - sinceMs;
}

/** The result of a job, once it has one. */
export const resultOf = (client: Client, id: string): Promise<JobResult> =>
  until(`${id} is done`, FAR_TOO_LONG_MS, async () => {
    const seen = await client.get(id, 5);
    return seen?.state === 'done' && (JSON.parse(seen.text as string) as JobResult);
  });

/** What a server says of itself. */
export async function readiness(url: string): Promise<Readiness> {
  const response = await fetch(`${url}/readyz`);
  return (await response.json()) as Readiness;
}

interface Readiness {
  readonly status: string;
  readonly workers: number;
  readonly problems: readonly string[];
}
