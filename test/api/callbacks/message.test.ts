import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  MAX_READ_BYTES,
  MAX_WHOLE_BYTES,
  messageOf,
} from '../../../services/api/callbacks/message.ts';
import { batchDone, jobDone } from '../../../shared/contract/callback-message.ts';
import {
  exitCodeOf,
  type JobResult,
  type Outcome,
  type StepResult,
  verdictOf,
} from '../../../shared/contract/result.ts';
import { sealBatch } from '../../../shared/queue/batch-record.ts';
import type { Delivery } from '../../../shared/queue/callbacks.ts';
import { openJobView } from '../../../shared/queue/end-without-run.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { everyOutcome } from '../../shared/contract/outcomes.ts';
import { created } from '../../shared/queue/batch.ts';
import { admitted, begun, settle } from '../../shared/queue/job.ts';
import { startRedis, type TestRedis } from '../../shared/queue/redis.ts';

let server: TestRedis;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const EXITED: Outcome = { kind: 'exited', exitCode: 3 };
const AT = '2030-01-02T03:04:05.678Z';

const delivery = (subject: string, over: Partial<Delivery> = {}): Delivery => ({
  id: `cb_${subject}`,
  type: 'job.done',
  subject,
  tenant: 'default',
  lane: 'default a.example:443',
  url: 'https://a.example/',
  atMs: Date.parse(AT),
  attempt: 1,
  includeOutput: true,
  outcome: JSON.stringify(EXITED),
  data: null,
  ...over,
});

/** A job that has ended with this result. */
async function ended(over: Partial<JobResult>, outcome = EXITED): Promise<string> {
  const { redis } = server;
  const id = await admitted(redis, { labels: { suite: 'a' } });
  const start = await begun(redis, id);
  const record = await readRecord(redis, id);
  if (record === undefined) throw new Error('there is no job');
  const view = { ...openJobView(id, record), state: 'done' as const, outcome, ...over };
  await settle(redis, id, start, { result: JSON.stringify(view), outcome });
  return id;
}

async function sent(job: Delivery, publicUrl = ''): Promise<ReturnType<typeof jobDone.parse>> {
  const message = JSON.parse(await messageOf(server.redis, job, publicUrl)) as {
    type: string;
    timestamp: string;
    data: unknown;
  };
  expect(message).toMatchObject({ type: 'job.done', timestamp: AT });
  return jobDone.parse(message.data);
}

const step: StepResult = {
  name: 'one',
  outcome: EXITED,
  exitCode: 3,
  stdout: 'of a step',
  stderr: '',
  stdoutEncoding: 'utf8',
  stderrEncoding: 'utf8',
  stdoutBytes: 9,
  stderrBytes: 0,
  stdoutCutAt: null,
  stderrCutAt: null,
  isTruncated: false,
  wallMs: 1,
  cpuMs: 1,
};

describe('what is sent of a job', () => {
  it('is its result, and where it is read', async () => {
    const id = await ended({ stdout: 'hello', json: { a: 1 }, steps: [step] });
    expect(await sent(delivery(id), 'https://cofferdam.example')).toMatchObject({
      id,
      outcome: EXITED,
      stdout: 'hello',
      json: { a: 1 },
      steps: [{ stdout: 'of a step' }],
      labels: { suite: 'a' },
      content: 'whole',
      url: `https://cofferdam.example/v1/jobs/${id}`,
    });
  });

  it.each([
    ['it was asked to stay out', 'small', { includeOutput: false }],
    ['it is large', 'x'.repeat(MAX_WHOLE_BYTES), {}],
  ])('is without what the program wrote when %s', async (_why, stdout, over) => {
    const id = await ended({ stdout, stderr: 'secret', json: ['secret'], steps: [step] });
    const data = await sent(delivery(id, over));
    expect(data).toMatchObject({
      content: 'without_output',
      stdoutBytes: 0,
      artifacts: [],
      url: `/v1/jobs/${id}`,
    });
    const text = JSON.stringify(data);
    expect(text).not.toContain('secret');
    expect(text).not.toContain('of a step');
    expect(text).not.toContain('small');
    expect(text.length).toBeLessThan(MAX_WHOLE_BYTES);
  });

  it.each(everyOutcome)(
    'follows from its outcome alone when the result is gone: %j',
    async (end) => {
      const gone = await sent(delivery('job_gone', { outcome: JSON.stringify(end) }));
      const { fault, retryable, ran } = verdictOf(end);
      expect(gone).toEqual({
        id: 'job_gone',
        state: 'done',
        outcome: end,
        fault,
        retryable,
        ran,
        exitCode: exitCodeOf(end),
        timedOut: end.kind === 'timed_out',
        content: 'summary',
        url: '/v1/jobs/job_gone',
      });
    },
  );

  it('follows from its outcome when the result is too large to be read here', async () => {
    const id = await ended({ stdout: 'x'.repeat(MAX_READ_BYTES) });
    const data = await sent(delivery(id));
    expect(data).toMatchObject({ content: 'summary', exitCode: 3, labels: { suite: 'a' } });
    expect(data).not.toHaveProperty('stdout');
  });
});

describe('what is sent of a batch', () => {
  it('is its counts and where it is read, and only that once it is gone', async () => {
    const { redis } = server;
    const id = await created(redis);
    await sealBatch(redis, id);
    const batch = delivery(id, { type: 'batch.done', outcome: null });
    const { type, data } = JSON.parse(await messageOf(redis, batch, '')) as Record<string, unknown>;
    expect(type).toBe('batch.done');
    expect(batchDone.parse(data)).toMatchObject({
      id,
      state: 'done',
      counts: { total: 0, done: 0 },
      url: `/v1/batches/${id}`,
    });
    await redis.del(keys.batch(id));
    const later = JSON.parse(await messageOf(redis, batch, '')) as { data: unknown };
    expect(batchDone.parse(later.data)).toEqual({ id, url: `/v1/batches/${id}` });
  });
});
