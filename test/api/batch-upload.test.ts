import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { JobLine } from '../../services/api/batch-job.ts';
import { CHUNK_JOBS } from '../../services/api/batch-upload.ts';
import type { Pressure } from '../../services/api/pressure.ts';
import { batchAccepted } from '../../shared/contract/batch.ts';
import { AppError } from '../../shared/errors.ts';
import { readBatch } from '../../shared/queue/batch-record.ts';
import { keys } from '../../shared/queue/keys.ts';
import { BATCH_WINDOW } from '../../shared/queue/options.ts';
import { prioritizedKey } from '../../shared/queue/queue-age.ts';
import { eventually, startRedis, type TestRedis } from '../shared/queue/redis.ts';
import { type BatchPartsOptions, commands, createBatchParts, linesOf } from './batch-parts.ts';
import { allowing } from './policy/documents.ts';

let server: TestRedis;
let redis: Redis;
let parts: ReturnType<typeof createBatchParts>;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(async () => {
  await redis.flushall();
  parts = createBatchParts(redis);
});
afterEach(() => parts.stop());

const withParts = async (options: BatchPartsOptions): Promise<void> => {
  await parts.stop();
  parts = createBatchParts(redis, options);
};

async function* cutAfter(lines: readonly JobLine[], count: number): AsyncGenerator<JobLine> {
  yield* lines.slice(0, count);
  throw new Error('the connection was reset');
}

const batchIds = async (): Promise<string[]> => {
  const found = (await redis.keys(`${keys.batch('')}*`)).map((key) => key.split(':')[2] as string);
  return [...new Set(found)];
};
const refusalOf = (upload: Promise<unknown>): Promise<AppError> =>
  upload.then(
    () => expect.unreachable('expected a refusal'),
    (error: unknown) => error as AppError,
  );
const KEY = { idempotencyKey: 'once' };
const SKIP = { options: { onInvalid: 'skip' } } as const;

describe('an upload', () => {
  it('is answered once all its jobs are recorded, sealed, with as many in the queue as the window has room for', async () => {
    const count = BATCH_WINDOW + 250;
    const accepted = await parts.upload(linesOf(commands(count)));
    expect(batchAccepted.parse(accepted)).toEqual(accepted);
    expect(accepted).toMatchObject({ state: 'running', skipped: 0, errors: [] });
    expect(accepted.counts).toEqual({ total: count, queued: count, running: 0, done: 0 });
    expect(parts.accepted.jobs).toBe(count);
    await eventually(
      'the window in the queue',
      async () => (await redis.zcard(prioritizedKey('bulk'))) === BATCH_WINDOW,
    );
    expect(await redis.zcard(keys.openBatches())).toBe(0);
  });

  it('is a batch of the width that was asked for', async () => {
    const { id } = await parts.upload(linesOf(commands(9)), { options: { maxParallel: 2 } });
    expect(await redis.hmget(keys.batch(id), 'window', 'out')).toEqual(['2', '2']);
    const wide = await parts.upload(linesOf(commands(1)), { options: { maxParallel: 1_000_000 } });
    expect(await redis.hget(keys.batch(wide.id), 'window')).toBe(String(BATCH_WINDOW));
  });

  it('lets its first jobs start while it goes on', async () => {
    let isInQueue = false;
    async function* slowly(): AsyncGenerator<JobLine> {
      for (const line of linesOf(commands(1200))) {
        if (line.index === 1100) {
          await eventually(
            'jobs in the queue',
            async () => (await redis.zcard(prioritizedKey('bulk'))) > 0,
          );
          isInQueue = true;
          const [id] = await batchIds();
          expect((await readBatch(redis, id as string))?.view.state).toBe('open');
        }
        yield line;
      }
    }
    await parts.upload(slowly());
    expect(isInQueue).toBe(true);
  });

  it('keeps the result of a job for as long as its defaults say, and the batch as long', async () => {
    const { id } = await parts.upload(linesOf([]), { options: { defaults: { retainMs: 9_000 } } });
    expect(await redis.pttl(keys.batch(id))).toBeLessThanOrEqual(9_000);
    expect(await redis.pttl(keys.batch(id))).toBeGreaterThan(0);
  });
});

describe('an upload that breaks off', () => {
  it('without a key is cancelled: nothing can complete it', async () => {
    const upload = parts.upload(cutAfter(linesOf(commands(1200)), 1100));
    await expect(upload).rejects.toThrow('reset');
    const [id] = (await batchIds()) as [string];
    await eventually('its jobs cancelled', async () => {
      const view = (await readBatch(redis, id))?.view;
      return view?.state === 'cancelled' && view.counts.done === view.counts.total;
    });
    const view = (await readBatch(redis, id))?.view;
    expect(view?.counts.total).toBe(1000);
    expect(view?.outcomes.cancelled).toBe(1000);
    const left = [keys.tenantsOpen(), keys.open(), keys.stoppingBatches()];
    await eventually('nothing left', async () => (await redis.exists(...left)) === 0);
  });

  it('with a key stays open, and is completed by the same stream sent again: nothing is doubled', async () => {
    const lines = linesOf(
      commands(1200).map((job, at) => (at % 3 ? job : { ...job, key: `k${at}` })),
    );
    await expect(parts.upload(cutAfter(lines, 1100), KEY)).rejects.toThrow('reset');
    const [id] = (await batchIds()) as [string];
    expect((await readBatch(redis, id))?.view).toMatchObject({
      state: 'open',
      counts: { total: 1000 },
    });
    const accepted = await parts.upload(lines, KEY);
    expect(accepted).toMatchObject({ id, state: 'running', counts: { total: 1200, queued: 1200 } });
    expect(parts.accepted.jobs).toBe(1200);
    expect(await redis.zcard(keys.open())).toBe(1200);
    expect(await batchIds()).toEqual([id]);
    expect(await parts.upload(lines, KEY)).toEqual(accepted);
  });

  it('names its batch where it was refused', async () => {
    const refusal = await refusalOf(parts.upload(linesOf([...commands(2), {}]), KEY));
    expect(refusal).toMatchObject({
      code: 'REQUEST_INVALID',
      line: 3,
      batch: (await batchIds())[0],
    });
  });

  it('loses none of the chunk that was on its way when a line was refused', async () => {
    const lines = linesOf([...commands(CHUNK_JOBS), {}]);
    await refusalOf(parts.upload(lines, KEY));
    await eventually(
      'the first chunk',
      async () => (await redis.zcard(keys.open())) === CHUNK_JOBS,
    );
  });
});

describe('the same Idempotency-Key', () => {
  it('with other options is refused', async () => {
    const lines = linesOf(commands(2));
    await parts.upload(lines, KEY);
    const other = parts.upload(lines, { ...KEY, options: { maxParallel: 2 } });
    expect(await refusalOf(other)).toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
      field: 'Idempotency-Key',
    });
    expect(await batchIds()).toHaveLength(1);
  });

  it('with another line in the place of one that is there is refused', async () => {
    await parts.upload(linesOf(commands(3)), KEY);
    const changed = linesOf([...commands(2), { command: ['other'] }]);
    expect(await refusalOf(parts.upload(changed, KEY))).toMatchObject({
      code: 'JOB_KEY_REUSED',
      message: expect.stringContaining('line 3'),
    });
  });

  it('with more lines is refused once the upload has ended', async () => {
    await parts.upload(linesOf(commands(3)), KEY);
    const refusal = await refusalOf(parts.upload(linesOf(commands(4)), KEY));
    expect(refusal).toMatchObject({ code: 'BATCH_CLOSED' });
  });
});

describe('a job that is refused', () => {
  it('ends the upload, unless refused jobs are to be left out', async () => {
    const lines = linesOf([{ command: ['a'] }, { comand: [] }, { command: ['b'] }, 'no json']);
    expect(await refusalOf(parts.upload(lines))).toMatchObject({ line: 2 });
    const accepted = await parts.upload(lines, SKIP);
    expect(accepted).toMatchObject({ counts: { total: 2 }, skipped: 2 });
    expect(accepted.errors).toEqual([
      { line: 2, code: 'REQUEST_INVALID', detail: expect.stringMatching(/^line 2: .*comand/) },
      { line: 4, code: 'BODY_NOT_JSON', detail: expect.stringMatching(/^line 4: /) },
    ]);
  });

  it('is counted, and shown among the first hundred alone', async () => {
    const accepted = await parts.upload(linesOf(Array(250).fill({})), SKIP);
    expect(accepted).toMatchObject({ state: 'done', counts: { total: 0 }, skipped: 250 });
    expect(accepted.errors.map(({ line }) => line)).toEqual(
      Array.from({ length: 100 }, (_, at) => at + 1),
    );
  });

  it('lets nothing of a whole upload in', async () => {
    const lines = linesOf([...commands(3), {}]);
    expect(await refusalOf(parts.upload(lines, { isWhole: true }))).toMatchObject({ line: 4 });
    expect(await redis.keys('*')).toEqual([]);
  });

  it('by a limit leaves what was let through before it, so that sending it again gets on', async () => {
    const rate_limit = { max: 4, window: 2, per: 'grant', algorithm: 'fixed' };
    await withParts({ policy: allowing({ rate_limit }) });
    const lines = linesOf(commands(10));
    const refusals: AppError[] = [];
    const again = async (): Promise<boolean> => {
      const error = await parts.upload(lines, KEY).then(
        () => undefined,
        (one: unknown) => one as AppError,
      );
      if (error !== undefined) refusals.push(error);
      return error === undefined;
    };
    await eventually('all of it', again, 20_000);
    expect(new Set(refusals.map(({ code }) => code))).toEqual(new Set(['LIMIT_EXCEEDED']));
    expect(refusals[0]?.line).toBe(5);
    expect(await redis.zcard(keys.open())).toBe(10);
    expect((await batchIds()).length).toBe(1);
  });

  it('by a limit lets nothing of a whole upload in', async () => {
    await withParts({ policy: allowing({ rate_limit: { max: 2, window: 60, per: 'grant' } }) });
    const upload = parts.upload(linesOf(commands(3)), { isWhole: true, ...KEY });
    expect(await refusalOf(upload)).toMatchObject({ code: 'LIMIT_EXCEEDED', line: 3 });
    expect(await redis.zcard(keys.open())).toBe(0);
  });

  it('for want of room ends the upload, also where refused jobs are left out', async () => {
    await withParts({ maxTenantOpenJobs: CHUNK_JOBS + 1 });
    const refusal = await refusalOf(
      parts.upload(linesOf(commands(2 * CHUNK_JOBS)), { ...SKIP, ...KEY }),
    );
    expect(refusal).toMatchObject({ code: 'TOO_MANY_OPEN_JOBS', batch: (await batchIds())[0] });
    expect(refusal.retryAfterSeconds).toBeGreaterThan(0);
    expect(await redis.hget(keys.tenantsOpen(), 'default')).toBe(String(CHUNK_JOBS));
    await withParts({ maxOpenJobs: 0 });
    expect(await refusalOf(parts.upload(linesOf(commands(1))))).toMatchObject({
      code: 'QUEUE_FULL',
    });
  });

  it('for want of breath is refused before anything is made', async () => {
    const pressure: Pressure = {
      require: () => {
        throw new AppError('OVERLOADED', { retryAfterSeconds: 5 });
      },
      start: () => {},
      stop: () => {},
    };
    await withParts({ pressure });
    expect(await refusalOf(parts.upload(linesOf(commands(1))))).toMatchObject({
      code: 'OVERLOADED',
    });
    expect(await redis.keys('*')).toEqual([]);
  });
});
