/** Uploads of batches that break off: with an Idempotency-Key they go on where they were, without one they are cancelled. */
import { describe, expect, inject, test } from 'vitest';
import {
  batchesOf,
  expectEachOnce,
  figureOf,
  HEAD,
  keyed,
  NONCE,
  named,
  ndjson,
  openUpload,
  sh,
} from './batch-api.ts';
import { until } from './watching.ts';

const server = inject('server');
const batches = batchesOf(server);
const { api } = batches;
const started = (): Promise<number> => figureOf(api, 'jobs_ended_total');
const openJobs = (): Promise<number> => figureOf(api, 'open_jobs');

describe('an upload that is cut', () => {
  const COUNT = 1_400;
  const CUT_AT = 1_100;

  /** Sends all but the end, breaks off in the middle of a line, and waits until the jobs before it are there. */
  async function cutUpload(lines: readonly unknown[], headers: Record<string, string>) {
    const before = await figureOf(api, 'jobs_accepted_total');
    const upload = openUpload(server, headers);
    await upload.write(ndjson(lines.slice(0, CUT_AT)));
    await upload.write(JSON.stringify(lines[CUT_AT]).slice(0, 20));
    await until('the first jobs are there', 30_000, async () => {
      return (await figureOf(api, 'jobs_accepted_total')) >= before + 1_000;
    });
    upload.cut();
  }

  test.each([
    ['by key', keyed(COUNT)],
    ['by place', Array.from({ length: COUNT }, () => NONCE)],
  ])(
    'in the middle of a line goes on where it was, %s, with no job doubled',
    async (_by, jobs) => {
      const headers = named();
      const before = await started();
      const lines = [HEAD, ...jobs];
      await cutUpload(lines, headers);
      const { id } = await batches.submitLines(lines, headers);
      const over = await batches.untilOver(id);
      expect(over).toMatchObject({ state: 'done', counts: { total: COUNT, done: COUNT } });
      const results = await batches.results(id);
      expectEachOnce(results, COUNT);
      expect(new Set(results.map(({ stdout }) => stdout)).size).toBe(COUNT);
      expect((await started()) - before).toBe(COUNT);
    },
    180_000,
  );

  test('without an Idempotency-Key is cancelled: nobody could ever complete it', async () => {
    const slow = { ...HEAD.batch, maxParallel: 1 };
    const lines = [{ batch: slow }, ...Array.from({ length: COUNT }, () => sh('sleep 5'))];
    await cutUpload(lines, {});
    await until('nothing of it waits or runs', 30_000, async () => (await openJobs()) === 0);
  });
});
