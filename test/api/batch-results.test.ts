import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { batchJobId } from '../../services/api/batch-job.ts';
import { createBatchResults } from '../../services/api/batch-results.ts';
import { createBatches } from '../../services/api/batches.ts';
import { createCanceller } from '../../services/api/canceller.ts';
import { sealBatch } from '../../shared/queue/batch-record.ts';
import { createEntrance, type Entrance } from '../../shared/queue/entrance.ts';
import { keys } from '../../shared/queue/keys.ts';
import { batchJob, created, released } from '../shared/queue/batch.ts';
import { begun, settle } from '../shared/queue/job.ts';
import { silent, startRedis, type TestRedis } from '../shared/queue/redis.ts';

const MIB = 1024 * 1024;
const caller = { tenant: 'default' };
let server: TestRedis;
let redis: Redis;
let entrance: Entrance;
let closing: AbortController;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(async () => {
  await redis.flushall();
  closing = new AbortController();
  entrance = createEntrance({ redis, log: silent });
});
afterEach(() => entrance.stop());

function someResults() {
  const canceller = createCanceller({ redis, entrance, log: silent });
  const { signal } = closing;
  const batches = createBatches({ redis, canceller, closing: signal, log: silent });
  return createBatchResults({ redis, batches, closing: signal });
}

/** A sealed batch; its odd jobs have keys. */
async function aBatch(count: number): Promise<string> {
  const batch = await created(redis, { window: 10_000 });
  const jobs = Array.from({ length: count }, (_, index) => {
    const key = index % 2 ? `key "${index}"` : null;
    return batchJob(index, { id: batchJobId(batch, index, key), key });
  });
  await released(redis, batch, jobs);
  await sealBatch(redis, batch);
  return batch;
}

const keyOf = (index: number): string | null => (index % 2 ? `key "${index}"` : null);

async function end(batch: string, index: number, filling = ''): Promise<void> {
  const id = batchJobId(batch, index, keyOf(index));
  const result = JSON.stringify({ id, filling });
  await settle(redis, id, await begun(redis, id), { result });
}

interface ResultLine {
  readonly index: number;
  readonly key: string | null;
  readonly cursor: string;
  readonly [field: string]: unknown;
}

const parse = (text: string): ResultLine[] => {
  expect(text.endsWith('\n')).toBe(true);
  return text
    .slice(0, -1)
    .split('\n')
    .map((line) => JSON.parse(line) as ResultLine);
};

const query = (over: { cursor?: string; follow?: boolean; signal?: AbortSignal } = {}) => ({
  cursor: over.cursor,
  follow: over.follow ?? false,
  signal: over.signal ?? new AbortController().signal,
});

async function read(batch: string, over: Parameters<typeof query>[0] = {}): Promise<ResultLine[]> {
  const lines: ResultLine[] = [];
  for await (const text of await someResults().lines(caller, batch, query(over))) {
    lines.push(...parse(text));
  }
  return lines;
}

describe('the results of a batch', () => {
  it('come in the order in which the jobs ended, with their place, their key and the whole result', async () => {
    const batch = await aBatch(4);
    for (const index of [2, 1, 3]) await end(batch, index, `of ${index}`);
    const lines = await read(batch);
    expect(lines.map(({ cursor, ...line }) => line)).toEqual(
      [2, 1, 3].map((index) => ({
        index,
        key: keyOf(index),
        id: batchJobId(batch, index, keyOf(index)),
        filling: `of ${index}`,
      })),
    );
  });

  it('are none as long as none has ended', async () => {
    expect(await read(await aBatch(3))).toEqual([]);
  });

  it('are all there, once each, for more jobs than are read at a time', async () => {
    const batch = await aBatch(450);
    for (let index = 449; index >= 0; index--) await end(batch, index);
    const lines = await read(batch);
    expect(lines.map(({ index }) => index)).toEqual(
      Array.from({ length: 450 }, (_, at) => 449 - at),
    );
  });

  it('come in pieces of about a MiB when they are large, and one that is larger comes alone', async () => {
    const batch = await aBatch(6);
    const half = 'x'.repeat(0.6 * MIB);
    for (const index of [0, 1, 2]) await end(batch, index, half);
    await end(batch, 3, 'x'.repeat(3 * MIB));
    await end(batch, 4);
    await end(batch, 5);
    const pieces: number[][] = [];
    for await (const text of await someResults().lines(caller, batch, query())) {
      pieces.push(parse(text).map(({ index }) => index));
    }
    expect(pieces).toEqual([[0], [1], [2], [3], [4, 5]]);
  });

  it('say of a result that is gone already what is still known of it', async () => {
    const batch = await aBatch(2);
    await end(batch, 1);
    const id = batchJobId(batch, 1, keyOf(1));
    await redis.del(keys.result(id));
    expect(await read(batch)).toMatchObject([
      { index: 1, key: keyOf(1), id, state: 'done', outcome: null },
    ]);
  });

  it('are nobody else’s', async () => {
    const batch = await aBatch(1);
    const reading = someResults().lines({ tenant: 'other' }, batch, query());
    await expect(reading).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('a cursor', () => {
  it('goes on after its line, from every line on, also with what ended later', async () => {
    const batch = await aBatch(8);
    for (const index of [4, 0, 6]) await end(batch, index);
    const lines = await read(batch);
    await end(batch, 1);
    for (const [at, { cursor }] of lines.entries()) {
      const rest = await read(batch, { cursor });
      expect(rest.map(({ index }) => index)).toEqual([4, 0, 6, 1].slice(at + 1));
    }
    const [last] = (await read(batch)).slice(-1);
    expect(await read(batch, { cursor: last?.cursor as string })).toEqual([]);
  });

  it('is one of its batch, and refused before the first line when it is not', async () => {
    const [batch, other] = [await aBatch(2), await aBatch(2)];
    for (const one of [batch, other]) await end(one, 0);
    const [line] = await read(batch);
    const cursor = line?.cursor as string;
    const [theirs] = await read(other);
    const [, digest = ''] = cursor.split('.');
    const wrong = [
      theirs?.cursor as string,
      `2.${digest}`,
      `01.${digest}`,
      `-1.${digest}`,
      `1e0.${digest}`,
      `${cursor}0`,
      cursor.slice(0, -1),
      cursor.toUpperCase().replace(/[^A-F]*$/, ''),
      '1',
      '1.',
      '.',
      '',
      `${'9'.repeat(30)}.${digest}`,
      ` ${cursor}`,
    ];
    for (const one of wrong) {
      const reading = someResults().lines(caller, batch, query({ cursor: one }));
      await expect(reading, one).rejects.toMatchObject({
        code: 'REQUEST_INVALID',
        field: 'cursor',
      });
    }
  });
});

describe('whoever follows the results', () => {
  it('gets each job as it ends, and the end once all have', async () => {
    const batch = await aBatch(4);
    await end(batch, 3);
    const lines = await someResults().lines(caller, batch, query({ follow: true }));
    const next = async () => {
      const { value, done } = await lines.next();
      return done ? 'end' : parse(value).map(({ index }) => index);
    };
    expect(await next()).toEqual([3]);
    for (const index of [0, 2, 1]) {
      const coming = next();
      await end(batch, index);
      expect(await coming).toEqual([index]);
    }
    expect(await next()).toBe('end');
  });

  it('is told when the server stops: the batch has not ended', async () => {
    const lines = await someResults().lines(caller, await aBatch(1), query({ follow: true }));
    const coming = lines.next();
    closing.abort();
    await expect(coming).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
  });

  it('and is gone is not read for any more', async () => {
    const gone = new AbortController();
    const { signal } = gone;
    const batch = await aBatch(1);
    const lines = await someResults().lines(caller, batch, query({ follow: true, signal }));
    const coming = lines.next();
    gone.abort();
    expect(await coming).toMatchObject({ done: true });
  });
});

it('a reader that stops pulls nothing more out of Redis', async () => {
  const batch = await aBatch(1000);
  for (let index = 0; index < 1000; index++) await end(batch, index);
  const calls = async (): Promise<number> => {
    const stats = await redis.info('commandstats');
    return Number(stats.match(/cmdstat_mget:calls=(\d+)/)?.[1] ?? 0);
  };
  const before = await calls();
  const lines = await someResults().lines(caller, batch, query());
  expect(await calls()).toBe(before);
  await lines.next();
  await lines.next();
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(await calls()).toBe(before + 2);
});
