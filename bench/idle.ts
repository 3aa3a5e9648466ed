/**
 * What Cofferdam costs while nobody asks anything of it: processor time of each process with a full pool, and the
 * memory of a ready sandbox: its guest, its shim, and what the engine grew by, divided by the number of sandboxes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { docker, sandboxes } from '../test/helpers/docker.ts';
import type { Benchmark } from './benchmark.ts';
import { pidOfRedis, startApi, startRedis, startWorker } from './cofferdam.ts';
import { availableMb, pidsOf, proportionalMb, residentMb } from './memory.ts';
import { parentOf, processorMs } from './processor.ts';
import { atMost } from './report.ts';

/** Many, so that what the engine holds anyway disappears in the division. */
const SANDBOXES = 16;
const FULL_WITHIN_MS = 60_000;
const SETTLE_MS = 10_000;

export const idle: Benchmark = {
  shows: 'processor and memory with a full pool and no job; memory of a ready sandbox',
  limitMinutes: 4,
  async measure(run) {
    const seconds = run.isQuick ? 10 : 30;
    const { url, redis } = await startRedis(run);
    const api = await startApi(run, url);
    const before = { engine: engineMb(), available: availableMb() };
    const { pid, worker } = await startWorker(run, url, {
      COFFERDAM_POOL_READY: String(SANDBOXES),
    });
    const containers = await fullPool(worker);
    await sleep(SETTLE_MS);
    const perSandbox = await sandboxMemory(containers, before);

    const redisPid = await pidOfRedis(redis);
    const processes = { api: api.pid, worker: pid, redis: redisPid };
    const used = Object.values(processes).map(processorMs);
    await sleep(seconds * 1000);
    const rows = Object.entries(processes).map(([what, one], at) => ({
      what,
      cells: [((processorMs(one) - (used[at] ?? 0)) / (seconds * 1000)) * 100, residentMb(one)],
    }));
    const workerShare = Number(rows[1]?.cells[0]);
    return {
      tables: [
        { title: `idle for ${seconds} s`, columns: ['% of a core', 'resident MiB'], rows },
        {
          title: 'a ready sandbox',
          columns: ['MiB'],
          rows: perSandbox.rows,
        },
      ],
      targets: [
        atMost('the worker, of a core', workerShare, 1, ' %'),
        atMost('a ready sandbox', perSandbox.sum, 15, ' MiB'),
      ],
      notes: [
        `${SANDBOXES} ready sandboxes. Memory of guest and shim: proportional set size, shared pages divided.`,
        'The engine’s growth holds whatever else used the engine meanwhile, and its garbage.',
      ],
    };
  },
};

async function fullPool(worker: string): Promise<string[]> {
  const deadline = Date.now() + FULL_WITHIN_MS;
  while (Date.now() < deadline) {
    const ids = await sandboxes(worker);
    if (ids.length >= SANDBOXES) return ids;
    await sleep(500);
  }
  throw new Error(`The pool was not full within ${FULL_WITHIN_MS} ms.`);
}

async function sandboxMemory(
  ids: readonly string[],
  before: { engine: number; available: number },
) {
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const guests = (await docker('inspect', '--format', '{{.State.Pid}}', ...ids))
    .split('\n')
    .map(Number);
  const guest = mean(guests.map(proportionalMb));
  const shim = mean(guests.map(parentOf).map(proportionalMb));
  const engine = (engineMb() - before.engine) / ids.length;
  const sum = guest + shim + engine;
  const available = (before.available - availableMb()) / ids.length;
  return {
    sum,
    rows: [
      { what: 'guest', cells: [guest] },
      { what: 'shim', cells: [shim] },
      { what: 'engine’s growth', cells: [engine], note: 'dockerd and containerd' },
      { what: 'sum', cells: [sum] },
      {
        what: 'less available',
        cells: [available],
        note: 'the machine’s MemAvailable: the kernel’s own part, the worker and all neighbours too',
      },
    ],
  };
}

const engineMb = (): number =>
  [...pidsOf('dockerd'), ...pidsOf('containerd')].reduce(
    (sum, pid) => sum + proportionalMb(pid),
    0,
  );
