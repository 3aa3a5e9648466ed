/** What is sent: made anew for each attempt from what is stored, so that a callback that waits holds nothing twice. */
import type { Redis } from 'ioredis';
import type { BatchDone, JobDone } from '../../../shared/contract/callback-message.ts';
import {
  exitCodeOf,
  type JobResult,
  type Outcome,
  verdictOf,
} from '../../../shared/contract/result.ts';
import { readBatch } from '../../../shared/queue/batch-record.ts';
import type { Delivery } from '../../../shared/queue/callbacks.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';

/** A larger result is sent without what the program wrote. */
export const MAX_WHOLE_BYTES = 32 * 1024;
/** A larger result is not read: parsing it would hold up every request of this process. */
export const MAX_READ_BYTES = 1024 * 1024;

/** The body of the POST. `publicUrl` is the address of this server, '' where it is not known. */
export async function messageOf(
  redis: Redis,
  delivery: Delivery,
  publicUrl: string,
): Promise<string> {
  const timestamp = new Date(delivery.atMs).toISOString();
  const data = await dataOf(redis, delivery, publicUrl);
  return JSON.stringify({ type: delivery.type, timestamp, data });
}

async function dataOf(redis: Redis, delivery: Delivery, publicUrl: string): Promise<unknown> {
  const { type, subject: id, data } = delivery;
  if (data !== null) return JSON.parse(data);
  if (type === 'job.done') return jobDataOf(redis, delivery, `${publicUrl}/v1/jobs/${id}`);
  const batch = await readBatch(redis, id);
  const known: BatchDone = { ...batch?.view, id, url: `${publicUrl}/v1/batches/${id}` };
  return known;
}

async function jobDataOf(redis: Redis, delivery: Delivery, url: string): Promise<JobDone> {
  const { subject: id, includeOutput } = delivery;
  const bytes = await redis.strlen(keys.result(id));
  const json = bytes > MAX_READ_BYTES ? null : await redis.get(keys.result(id));
  if (json === null) return { ...(await summaryOf(redis, delivery)), content: 'summary', url };
  const result = { ...(JSON.parse(json) as JobResult), state: 'done' as const };
  if (includeOutput && bytes <= MAX_WHOLE_BYTES) return { ...result, content: 'whole', url };
  const { stdout: _out, stderr: _err, json: _json, steps, ...rest } = result;
  const known = { ...rest, content: 'without_output' as const, url };
  if (steps === undefined) return known;
  return { ...known, steps: steps.map(({ stdout: _o, stderr: _e, ...step }) => step) };
}

/** Of a result that is too large, or no longer kept. */
async function summaryOf(
  redis: Redis,
  { subject: id, outcome: json }: Delivery,
): Promise<Omit<JobDone, 'content' | 'url'>> {
  const outcome = JSON.parse(json ?? 'null') as Outcome | null;
  const labels = (await readRecord(redis, id))?.labels;
  const known = { id, state: 'done' as const, outcome, ...(labels && { labels }) };
  if (outcome === null) return known;
  return {
    ...known,
    ...verdictOf(outcome),
    exitCode: exitCodeOf(outcome),
    timedOut: outcome.kind === 'timed_out',
  };
}
