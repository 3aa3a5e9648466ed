/** Jobs watched from outside while they wait and run. Every wait ends: with what was waited for, or with an error. */
import { setTimeout as sleep } from 'node:timers/promises';
import { LOAD_SETTINGS } from '../../shared/config/load-settings.ts';
import type { JobResult } from '../../shared/contract/result.ts';
import { docker, sandboxes } from '../helpers/docker.ts';
import type { Caller } from '../helpers/server.ts';

const LOOK_MS = 40;

/** Looks until there is something, and returns it. */
export async function until<T>(
  what: string,
  withinMs: number,
  look: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() >= deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(LOOK_MS);
  }
}

export const untilRunning = (api: Caller, id: string): Promise<JobResult> =>
  until(`${id} runs`, 30_000, async () => {
    const job = await api.get(id);
    return job.state === 'running' && job;
  });

export const untilDone = (api: Caller, id: string): Promise<JobResult> =>
  until(`${id} is done`, 60_000, async () => {
    const job = await api.get(id, 20);
    return job.state === 'done' && job;
  });

interface Info {
  readonly workers: { id: string; slots: number; running: number; ready: number }[];
}

export async function workerOf(api: Caller): Promise<Info['workers'][number]> {
  const info = (await (await api.send('/v1/info')).json()) as Info;
  const [worker] = info.workers;
  if (worker === undefined) throw new Error('no worker lives');
  return worker;
}

const RESERVED_SLOTS = Number(LOAD_SETTINGS.COFFERDAM_RESERVED_SLOTS.fallback);

/** Fills every slot with a sleeping job, the reserved ones too; the returned function frees them. */
export async function occupySlots(api: Caller): Promise<() => Promise<void>> {
  const { slots } = await workerOf(api);
  const jobs = await Promise.all(
    Array.from({ length: slots + RESERVED_SLOTS }, () =>
      api.submit({ command: ['sleep', '50'], timeoutMs: 60_000, labels: { for: 'occupying' } }),
    ),
  );
  for (const { id } of jobs) await untilRunning(api, id);
  return async () => {
    await Promise.all(jobs.map(({ id }) => api.send(`/v1/jobs/${id}`, { method: 'DELETE' })));
    await Promise.all(jobs.map(({ id }) => untilDone(api, id)));
  };
}

/** The sandbox in which a process has exactly this command line, once there is one. */
export const sandboxRunning = (commandLine: string): Promise<string> =>
  until(`a sandbox runs ${commandLine}`, 30_000, async () => {
    for (const id of await sandboxes()) {
      // It may go between the two looks.
      const shown = await docker('top', id, '-o', 'pid,args').catch(() => '');
      if (shown.split('\n').some((line) => line.replace(/^\s*\d+\s+/, '') === commandLine))
        return id;
    }
    return undefined;
  });

const exists = (sandbox: string): Promise<boolean> =>
  docker('inspect', '--format', '{{.Id}}', sandbox).then(
    () => true,
    () => false,
  );

/** A busy engine may list for ever a container that it has removed: only what can be inspected is there. */
export async function sandboxesOf(worker: string): Promise<string[]> {
  const ids = await sandboxes(worker);
  const found = await Promise.all(ids.map(exists));
  return ids.filter((_, index) => found[index]).sort();
}

export const untilGone = (sandbox: string, withinMs = 15_000): Promise<true> =>
  until(`the sandbox ${sandbox} is gone`, withinMs, async () => !(await exists(sandbox)));
