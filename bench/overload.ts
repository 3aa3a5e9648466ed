/**
 * Overload: a thousand requests at once to a server that has just started. Each is taken (202) or told to come back
 * (429 or 503 with Retry-After); nothing else may happen. Once with room for all, once with room for some, API and worker
 * apart so that the API's memory is its own; and once in one process.
 */

import type { Benchmark, Run } from './benchmark.ts';
import type { Client } from './cofferdam.ts';
import { serveCold, startApi, startRedis, startWorker } from './cofferdam.ts';
import { peakMb, residentMb } from './memory.ts';
import { atMost } from './report.ts';
import { percentile, timeOf } from './times.ts';

const REQUESTS = 1_000;
const ROOM_FOR_SOME = 300;
/** Of those that were taken so many are followed to their end. */
const FOLLOWED = 10;

/** The server's own answer that asks nothing of Redis. */
const FLOOR_ROUTE = '/healthz';

interface Flood {
  readonly what: string;
  readonly taken: number;
  readonly refusals: readonly string[];
  readonly other: readonly string[];
  readonly answeredMs: readonly number[];
  readonly endedWell: number;
  readonly memory: string;
  readonly apiPeakMb: number | undefined;
}

export const overload: Benchmark = {
  shows: '1,000 requests at once to a server that has just started',
  limitMinutes: 4,
  async measure(run) {
    const floods = [
      await floodApart(run, 'API and worker apart', {}),
      await floodApart(run, `the same, room for ${ROOM_FOR_SOME}`, {
        COFFERDAM_MAX_OPEN_JOBS: String(ROOM_FOR_SOME),
      }),
      await floodServe(run),
    ];
    const floor = await floorOf(run);
    const other = floods.flatMap((flood) => flood.other);
    const apiPeaks = floods.flatMap(({ apiPeakMb }) => apiPeakMb ?? []);
    const followed = floods.length * FOLLOWED;
    const endedWell = floods.reduce((sum, flood) => sum + flood.endedWell, 0);
    return {
      tables: [
        {
          title: `${REQUESTS} at once`,
          columns: ['200/202', '429/503', 'other', 'answered p50 ms', 'p99 ms', 'ended with 0'],
          rows: [
            ...floods.map((flood) => ({
              what: flood.what,
              cells: [
                flood.taken,
                flood.refusals.length,
                flood.other.length,
                percentile(flood.answeredMs, 50),
                percentile(flood.answeredMs, 99),
                `${flood.endedWell} of ${FOLLOWED}`,
              ],
              note: [flood.memory, ...countsOf(flood.refusals)].join('; '),
            })),
            {
              what: `GET ${FLOOR_ROUTE}`,
              cells: ['', '', '', percentile(floor, 50), percentile(floor, 99), ''],
              note: 'floor: the same client and server, nothing recorded',
            },
          ],
        },
      ],
      targets: [
        atMost('answers other than 202, 429 or 503 with Retry-After', other.length, 0),
        atMost('resident memory of the API, peak', Math.max(...apiPeaks), 250, ' MiB'),
        atMost('followed jobs that did not exit with 0', followed - endedWell, 0),
      ],
      notes: [
        'No warm-up: the first request comes as soon as the port is open. The client shares the cores.',
        ...new Set(other),
      ],
    };
  },
};

async function floodApart(
  run: Run,
  what: string,
  env: Readonly<Record<string, string>>,
): Promise<Flood> {
  const { url } = await startRedis(run);
  const worker = await startWorker(run, url);
  const client = await startApi(run, url, env);
  const answers = await flood(client);
  const apiPeakMb = peakMb(client.pid);
  const memory = `peak: API ${apiPeakMb.toFixed(0)}, worker ${peakMb(worker.pid).toFixed(0)} MiB`;
  return { what, ...answers, memory, apiPeakMb };
}

async function floodServe(run: Run): Promise<Flood> {
  const client = await serveCold(run);
  const before = residentMb(client.pid);
  const answers = await flood(client);
  const memory = `${before.toFixed(0)} before, peak ${peakMb(client.pid).toFixed(0)} MiB, API and worker in one`;
  return { what: 'serve', ...answers, memory, apiPeakMb: undefined };
}

async function floorOf(run: Run): Promise<number[]> {
  const { url } = await startRedis(run);
  const { api } = await startApi(run, url);
  const once = async (): Promise<string> => (await api.send(FLOOR_ROUTE)).text();
  return Promise.all(Array.from({ length: REQUESTS }, () => timeOf(once)));
}

async function flood({ api }: Client) {
  const answeredMs: number[] = [];
  const ids: string[] = [];
  const other: string[] = [];
  const refusals: string[] = [];
  const sendOne = async (): Promise<void> => {
    const response = await api.send('/v1/jobs', { method: 'POST', body: { command: ['true'] } });
    const text = await response.text();
    const { status, headers } = response;
    // 200: it was done before the answer was written.
    if (status === 202 || status === 200) ids.push((JSON.parse(text) as { id: string }).id);
    else if ((status === 429 || status === 503) && headers.has('retry-after')) {
      refusals.push((JSON.parse(text) as { code: string }).code);
    } else other.push(`${status} ${text.slice(0, 200)}`);
  };
  await Promise.all(
    Array.from({ length: REQUESTS }, async () => {
      const sending = sendOne().catch((error: Error) => other.push(`${error}: ${error.cause}`));
      answeredMs.push(await timeOf(() => sending));
    }),
  );
  const ended = await Promise.all(ids.slice(0, FOLLOWED).map((id) => api.get(id, 60)));
  const endedWell = ended.filter(({ exitCode }) => exitCode === 0).length;
  return { taken: ids.length, refusals, other, answeredMs, endedWell };
}

/** `CODE 12` for each code that occurs. */
function countsOf(codes: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const code of codes) counts.set(code, (counts.get(code) ?? 0) + 1);
  return [...counts].map(([code, count]) => `${code} ${count}`);
}
