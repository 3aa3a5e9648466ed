/** A worker that is killed in the middle of a batch: another does what it left, and each job ends once. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { KEEPS_EVERYTHING, startOperatorsRedis } from '../helpers/redis.ts';
import { startProcess, startServer } from '../helpers/server.ts';
import { batchesOf, expectEachOnce, expectSound, GROUPED, sh } from './batch-api.ts';
import { sandboxesOf, until } from './watching.ts';

const LONG_MS = 240_000;
const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

/** An API, and workers that start and die apart from it. */
async function startApart() {
  const redis = await startOperatorsRedis(...KEEPS_EVERYTHING);
  releases.push(redis.stop);
  const shared = { COFFERDAM_REDIS_URL: redis.url };
  const api = await startServer(shared, { command: 'api' });
  releases.push(() => api.stop());
  const startWorker = async () => {
    const dataDir = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-worker-'));
    releases.push(() => rmSync(dataDir, { recursive: true, force: true }));
    const env = { ...shared, COFFERDAM_DATA_DIR: dataDir, COFFERDAM_SLOTS: '2' };
    const up = /"worker":"([^"]+)".*"worker started"/;
    const worker = await startProcess('worker', env, { up, isDetached: false });
    releases.push(() => worker.stop());
    return { id: worker.said, stop: worker.stop };
  };
  return { batches: batchesOf(api), startWorker };
}

test.each([
  ['each in a sandbox of its own', {}, 60],
  ['that share sandboxes', GROUPED, 400],
])(
  'jobs %s end once each, none is missing, and the batch is done',
  async (_how, isolation, count) => {
    const { batches, startWorker } = await startApart();
    const first = await startWorker();
    const jobs = Array.from({ length: count }, (_, at) => sh(`sleep 0.1; echo ${at}`));
    const { id } = await batches.submit({ defaults: isolation, jobs });
    await until('a part of it is done', 60_000, async () => {
      return (await batches.get(id)).counts.done > count / 5;
    });
    await first.stop('SIGKILL');
    const atDeath = await batches.get(id);
    expectSound(atDeath);
    expect(atDeath.counts.done).toBeLessThan(count);
    const second = await startWorker();
    const over = await batches.untilOver(id);
    expect(over).toMatchObject({
      state: 'done',
      counts: { total: count, queued: 0, running: 0, done: count },
      outcomes: { exited_zero: count, lost: 0 },
    });
    const lines = await batches.results(id);
    expectEachOnce(lines, count);
    for (const { index, stdout } of lines) expect(stdout).toBe(`${index}\n`);
    expect(new Set(lines.map(({ worker }) => worker))).toEqual(new Set([first.id, second.id]));
    const again = lines.filter(({ attempt }) => attempt === 2);
    // No more than it had running were started a second time.
    expect(again.length).toBeLessThanOrEqual(3);
    await until('the dead one’s sandboxes are gone', 60_000, async () => {
      return (await sandboxesOf(first.id)).length === 0;
    });
  },
  LONG_MS,
);
