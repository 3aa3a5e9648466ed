/** Steady work of every kind, until a time; then it waits for what it began. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobRequestInput } from '../shared/contract/request.ts';
import { cancelBatch, runBatch, submitBatch } from './batches.ts';
import type { Client } from './cofferdam.ts';
import { inParallel } from './load.ts';

const FLOOD = 100;
const BATCH = 100;
const PAUSE_MS = 200;

const FILES: JobRequestInput = {
  command: ['sh', '-c', 'cat in; head -c 65536 /dev/zero > out'],
  files: [{ path: 'in', content: 'x'.repeat(10_000) }],
  collect: ['out'],
};

/** How often each kind was done, and how often it went wrong. */
export async function mixedLoad(
  client: Client,
  { untilMs }: { untilMs: number },
): Promise<Record<string, number>> {
  const { api } = client;
  const tally: Record<string, number> = {};
  const count = (what: string): void => {
    tally[what] = (tally[what] ?? 0) + 1;
  };
  const kinds: Readonly<Record<string, () => Promise<unknown>>> = {
    'single jobs': () => api.run({ command: ['true'] }),
    'jobs with files': () => api.run(FILES),
    'jobs that time out': () => api.run({ command: ['sleep', '60'], timeoutMs: 200 }),
    'jobs cut at their output': () =>
      api.run({ command: ['yes'], timeoutMs: 5_000, limits: { stdoutBytes: 10_000, cpuMs: 100 } }),
    'cancelled jobs': async () => {
      const { id } = await api.submit({ command: ['sleep', '60'], timeoutMs: 70_000 });
      await sleep(PAUSE_MS);
      await api.send(`/v1/jobs/${id}`, { method: 'DELETE' });
      await api.get(id, 10);
    },
    'batches that share sandboxes': () =>
      runBatch(client, { defaults: { command: ['true'], isolation: 'group' } }, BATCH, () => ({})),
    'cancelled batches': async () => {
      const { id } = await submitBatch(
        client,
        { defaults: { command: ['true'] } },
        BATCH,
        () => ({}),
      );
      await cancelBatch(client, id);
    },
    'floods of refused requests': () =>
      inParallel(FLOOD, FLOOD, async () => {
        await (await api.send('/v1/jobs', { method: 'POST', body: { command: [] } })).text();
      }),
  };
  const loops = Object.entries(kinds).map(async ([what, act]) => {
    while (Date.now() < untilMs) {
      try {
        await act();
        count(what);
      } catch (error) {
        count(`${what}: ${error instanceof Error ? error.message.slice(0, 120) : error}`);
      }
      await sleep(PAUSE_MS);
    }
  });
  await Promise.all(loops);
  return tally;
}
