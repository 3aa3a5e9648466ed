import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RunCall } from '../../services/api/policy/call.ts';
import { jobRequest } from '../../shared/contract/request.ts';
import { keys } from '../../shared/queue/keys.ts';
import { newId } from '../shared/queue/job.ts';
import { eventually, startRedis, type TestRedis } from '../shared/queue/redis.ts';
import { caller, createBatchParts, linesOf } from './batch-parts.ts';
import { allowing, policyFrom } from './policy/asking.ts';

const PLACES = { concurrency: { max: 10, per: 'grant' } };
const policy = policyFrom({ rules: [allowing(PLACES)] });
const ONE = { key: 'one', command: ['true'] };
const TWO = { key: 'two', command: ['true'] };

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.redis;
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());

async function placesTaken(): Promise<number> {
  const counts = (await redis.keys(keys.limit('*'))).map((key) => redis.zcard(key));
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

const untilTaken = (places: number) =>
  eventually(`${places} places taken`, async () => (await placesTaken()) === places);

const runCall = (): RunCall => ({
  tool: 'exec',
  caller,
  args: jobRequest.parse({ command: ['true'] }),
  nowMs: Date.now(),
  jobId: newId(),
});

describe('what is charged', () => {
  it('goes back, of all that were granted at once, when one of them cannot be', async () => {
    const ask = { ...allowing(), name: 'ask', action: 'require_approval' };
    const asking = policyFrom({ rules: [allowing(PLACES), ask] });
    const { permission, stop } = createBatchParts(redis, { policy: asking });
    const judged = () => permission.judge(runCall(), 'bulk');
    const [one, two, three] = [await judged(), await judged(), await judged()];
    const broken = { ...two, job: { ...two.job, spec: 'none that an approval can be made of' } };
    await expect(permission.grant([one, broken, three])).rejects.toThrow();
    await untilTaken(0);
    await stop();
  });

  it('is one place for a job that is sent twice in an upload, in one chunk or in two', async () => {
    const parts = createBatchParts(redis, { policy });
    await parts.upload(linesOf([ONE, TWO, ONE]));
    await untilTaken(2);
    await parts.stop();
  });

  it('is one place for a job of two uploads under one key at the same time', async () => {
    const parts = createBatchParts(redis, { policy });
    const upload = () => parts.upload(linesOf([ONE, TWO]), { idempotencyKey: 'once' });
    await Promise.all([upload(), upload().catch(() => {})]);
    await untilTaken(2);
    await parts.stop();
  });

  it('goes back when the batch is full', async () => {
    const parts = createBatchParts(redis, { policy, maxOpenJobs: 1 });
    await expect(parts.upload(linesOf([ONE, TWO]))).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    await untilTaken(0);
    await parts.stop();
  });
});
