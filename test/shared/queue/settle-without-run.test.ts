import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jobResult } from '../../../shared/contract/result.ts';
import { handBackJob } from '../../../shared/queue/begin.ts';
import { type JobRecord, readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { settleWithoutRun } from '../../../shared/queue/settle-without-run.ts';
import { admitted, begin, begun } from './job.ts';
import { startRedis, type TestRedis } from './redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const LOST = { kind: 'lost', cause: 'worker_lost' } as const;
const read = async (id: string): Promise<JobRecord> => {
  const record = await readRecord(server.redis, id);
  if (record === undefined) throw new Error('no record');
  return record;
};
const resultOf = async (id: string) =>
  jobResult.parse(JSON.parse((await server.redis.get(keys.result(id))) ?? 'null'));

describe('settling a job of which nothing ran', () => {
  it('keeps a result of the contract, made from its record', async () => {
    const id = await admitted(server.redis, { labels: { a: 'b' } });
    const end = { id, record: await read(id), outcome: { kind: 'expired' } as const };
    expect((await settleWithoutRun(server.redis, end)).as).toBe('settled');
    expect(await resultOf(id)).toMatchObject({
      outcome: { kind: 'expired' },
      ran: 'no',
      attempt: 0,
      labels: { a: 'b' },
    });
  });

  it('does not count the start of a worker that had no sandbox for it', async () => {
    const id = await admitted(server.redis);
    const reply = await begin(server.redis, id);
    if (reply.kind !== 'started') throw new Error(reply.kind);
    const { start, record } = reply;
    const outcome = { kind: 'lost', cause: 'sandbox_unavailable' } as const;
    expect((await settleWithoutRun(server.redis, { id, record, start, outcome })).as).toBe(
      'settled',
    );
    expect(await resultOf(id)).toMatchObject({ ran: 'no', attempt: 0 });
  });

  it('leaves a job alone that started after its record was read', async () => {
    const id = await admitted(server.redis);
    const record = await read(id);
    await begun(server.redis, id);
    expect((await settleWithoutRun(server.redis, { id, record, outcome: LOST })).as).toBe('fenced');
  });

  it('leaves a job alone that ran and was handed back after its record was read as queued', async () => {
    const id = await admitted(server.redis);
    const record = await read(id);
    await handBackJob(server.redis, { id, start: await begun(server.redis, id), ran: 'yes' });
    const outcome = { kind: 'cancelled', by: 'caller' } as const;
    expect((await settleWithoutRun(server.redis, { id, record, outcome })).as).toBe('fenced');
    const now = { id, record: await read(id), outcome };
    expect((await settleWithoutRun(server.redis, now)).as).toBe('settled');
    expect(await resultOf(id)).toMatchObject({ outcome, ran: 'unknown', attempt: 1 });
  });

  it('leaves a job alone that another worker began after its record was read as running', async () => {
    const id = await admitted(server.redis);
    const first = await begun(server.redis, id, 'silent');
    const record = await read(id);
    await handBackJob(server.redis, { id, start: first, ran: 'yes' });
    await begun(server.redis, id, 'busy');
    expect((await settleWithoutRun(server.redis, { id, record, outcome: LOST })).as).toBe('fenced');
    expect(await read(id)).toMatchObject({ state: 'running', worker: 'busy' });
  });
});
