/**
 * Taking jobs in: 100,000 of them as one NDJSON stream, each on disk before the answer (fsync always). Once by an API
 * alone, once with a worker running beside it. The floor is the queue's own library: ids alone, added in bulk to the
 * same Redis, with no record, no result to wait for and no tenant.
 */
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { submitBatch } from './batches.ts';
import type { Benchmark, Run } from './benchmark.ts';
import { startApi, startRedis, startWorker } from './cofferdam.ts';
import { inParallel } from './load.ts';
import { forgetPeak, peakMb } from './memory.ts';
import { atMost, type Row } from './report.ts';

const FLOOR_CHUNK = 500;
const FLOOR_AT_ONCE = 2;
const JOB = { command: ['python3', '-c', 'print(6*7)'], image: 'python', labels: { run: '1' } };

interface Ingest {
  readonly seconds: number;
  readonly jobBytes: number;
  readonly peakMb: number;
}

export const ingest: Benchmark = {
  shows: '100,000 jobs as one stream, each on disk: seconds, memory, bytes of a waiting job',
  limitMinutes: 8,
  async measure(run) {
    const jobs = run.isQuick ? 10_000 : 100_000;
    const alone = await takeIn(run, jobs, { withWorker: false });
    const floor = await bareQueue(run, jobs / 5);
    const beside = await takeIn(run, jobs, { withWorker: true });
    const wantedSeconds = (30 * jobs) / 100_000;
    const row = (what: string, { seconds, ...one }: Ingest): Row => ({
      what,
      cells: [seconds, jobs / seconds, one.peakMb, one.jobBytes],
    });
    return {
      tables: [
        {
          title: `${jobs} jobs`,
          columns: ['s', 'jobs/s', 'API peak MiB', 'Redis bytes a job'],
          rows: [
            row('API alone', alone),
            {
              ...row('with a worker beside it', beside),
              note: 'jobs run meanwhile: bytes are not of waiting ones',
            },
            {
              what: 'BullMQ alone, ids only',
              cells: [jobs / floor.rate, floor.rate, '', floor.jobBytes],
              note: `floor, by ${jobs / 5} ids in chunks of ${FLOOR_CHUNK}`,
            },
          ],
        },
      ],
      targets: [
        atMost('API alone', alone.seconds, wantedSeconds, ' s'),
        atMost('API alone, peak of resident memory', alone.peakMb, 250, ' MiB'),
        atMost('with a worker, peak of resident memory', beside.peakMb, 250, ' MiB'),
        atMost('Redis, bytes of a waiting job', alone.jobBytes, 2_048),
      ],
      notes: [
        'appendfsync always. Peak: since just before the upload. No warm-up: the API has just started.',
      ],
    };
  },
};

async function takeIn(
  run: Run,
  jobs: number,
  { withWorker }: { withWorker: boolean },
): Promise<Ingest> {
  const { url, redis } = await startRedis(run);
  const client = await startApi(run, url);
  if (withWorker) await startWorker(run, url);
  const before = await usedBytes(redis);
  forgetPeak(client.pid);
  const startedAt = performance.now();
  await submitBatch(client, {}, jobs, () => JOB);
  const seconds = (performance.now() - startedAt) / 1000;
  const jobBytes = ((await usedBytes(redis)) - before) / jobs;
  return { seconds, jobBytes, peakMb: peakMb(client.pid) };
}

async function bareQueue(run: Run, ids: number): Promise<{ rate: number; jobBytes: number }> {
  const { redis } = await startRedis(run);
  const queue = new Queue('floor', { connection: redis });
  await queue.waitUntilReady();
  const before = await usedBytes(redis);
  const startedAt = performance.now();
  await inParallel(Math.ceil(ids / FLOOR_CHUNK), FLOOR_AT_ONCE, (chunk) =>
    queue.addBulk(
      Array.from({ length: FLOOR_CHUNK }, (_, at) => ({
        name: '',
        data: null,
        opts: { jobId: `job_${String(chunk * FLOOR_CHUNK + at).padStart(32, '0')}`, priority: 1 },
      })),
    ),
  );
  const rate = (ids / (performance.now() - startedAt)) * 1000;
  const jobBytes = ((await usedBytes(redis)) - before) / ids;
  await queue.close();
  return { rate, jobBytes };
}

const usedBytes = async (redis: Redis): Promise<number> =>
  Number((await redis.info('memory')).match(/^used_memory:(\d+)/m)?.[1]);
