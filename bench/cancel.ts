/**
 * Cancelling: from the DELETE until the job is done and says so, for jobs that wait and for jobs that run; and for
 * those that run until their sandbox is gone, as the engine saw it. Several clients cancel at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobResult } from '../shared/contract/result.ts';
import { type EngineWitness, watchEngine } from '../test/faults/kit/witness.ts';
import type { Caller } from '../test/helpers/server.ts';
import type { Benchmark } from './benchmark.ts';
import { serve } from './cofferdam.ts';
import { inParallel } from './load.ts';
import { atMost } from './report.ts';
import { percentile, TIME_COLUMNS, timeRow } from './times.ts';

const UPLOADS_AT_ONCE = 20;
const WAITING_AT_ONCE = 3;
const SLOTS = 2;
const POLL_MS = 20;
const BEGUN_MS = 200;
/** Its uid leads from the job to its sandbox; the sleep outlasts the benchmark. */
const JOB = { command: ['sh', '-c', 'id -u; exec sleep 300'], timeoutMs: 400_000 };

interface Cancelled {
  readonly result: JobResult;
  readonly sentAtMs: number;
  readonly tookMs: number;
}

export const cancel: Benchmark = {
  shows: 'from DELETE to the cancelled result, and to the end of the sandbox as the engine saw it',
  limitMinutes: 6,
  async measure(run) {
    const [jobs, ofRunning] = run.isQuick ? [150, 15] : [1_000, 150];
    const { api, worker } = await serve(run, { COFFERDAM_SLOTS: String(SLOTS) });
    const witness = watchEngine({ label: `cofferdam.worker=${worker}` });
    run.own(witness, () => witness.stop());
    const accepted = await inParallel(jobs, UPLOADS_AT_ONCE, () => api.submit(JOB));
    const ids = accepted.map(({ id }) => id);
    const first = ids.slice(0, ofRunning);
    // The last come first: they are farthest from running.
    const rest = ids.slice(ofRunning).reverse();
    const [running, waiting] = await Promise.all([
      inParallel(first.length, SLOTS, (at) => cancelRunning(api, first[at] as string)),
      inParallel(rest.length, WAITING_AT_ONCE, (at) => cancelOne(api, rest[at] as string)),
    ]);
    const all = [...running, ...waiting];
    const other = all.filter(({ result }) => result.outcome?.kind !== 'cancelled');
    const begun = running.filter(({ result }) => result.stdout !== '');
    const died = await endsOf(witness, begun, 'die');
    const removed = await endsOf(witness, begun, 'destroy');
    const times = (of: readonly Cancelled[]): number[] => of.map(({ tookMs }) => tookMs);
    return {
      tables: [
        {
          title: 'from DELETE until',
          columns: TIME_COLUMNS,
          rows: [
            timeRow('the result, of a waiting job', times(waiting), `${waiting.length} jobs`),
            timeRow('the result, of a running job', times(running), `${running.length} jobs`),
            timeRow('its last process has ended', died, 'docker events: die'),
            timeRow('its sandbox is removed', removed, 'docker events: destroy'),
          ],
        },
      ],
      targets: [
        atMost('the result: p99', percentile(times(all), 99), 1_000, ' ms'),
        atMost('the last process: p99', percentile(died, 99), 1_000, ' ms'),
        atMost('the sandbox is removed: p99', percentile(removed, 99), 1_000, ' ms'),
        atMost('results that do not say cancelled', other.length, 0),
      ],
      notes: [
        `${jobs} jobs that would sleep for minutes; ${SLOTS} clients cancel running ones, ${WAITING_AT_ONCE} cancel waiting ones.`,
      ],
    };
  },
};

/** As they start, which is in order; a moment later, so that the program itself is ended and not its beginning. */
async function cancelRunning(api: Caller, id: string): Promise<Cancelled> {
  while ((await api.get(id)).state === 'queued') await sleep(POLL_MS);
  await sleep(BEGUN_MS);
  return cancelOne(api, id);
}

async function cancelOne(api: Caller, id: string): Promise<Cancelled> {
  const sentAtMs = Date.now();
  const startedAt = performance.now();
  const response = await api.send(`/v1/jobs/${id}`, { method: 'DELETE' });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  let result = (await response.json()) as JobResult;
  while (result.state !== 'done') result = await api.get(id, 10);
  return { result, sentAtMs, tookMs: performance.now() - startedAt };
}

const endsOf = (
  witness: EngineWitness,
  jobs: readonly Cancelled[],
  end: 'die' | 'destroy',
): Promise<number[]> =>
  Promise.all(
    jobs.map(
      async ({ result, sentAtMs }) =>
        (await witness.endOf(result.stdout.trim(), end, sentAtMs)) - sentAtMs,
    ),
  );
