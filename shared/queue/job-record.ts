/**
 * One job in Redis, and its life: the states of its record and every way from one to the next. Each way is one Lua
 * call, so that no process ever sees a job between two states.
 *
 * A job of a batch is queued from its record on, but in the queue only once the batch's window has come to it; one of a
 * tenant that runs as many as it may leaves the queue again (parked) until another ends: see release.ts.
 *
 *     (nothing) ── admit ──► queued ── begin ──► running ── settle ──► done
 *                              │  ▲                │                    ▲
 *                              │  └── hand back ───┘                    │
 *                              └──── settle (cancelled, expired) ───────┘
 *
 * A job that the policy wants approved is admitted as `awaiting_approval` instead: it counts as open, and is in no lane
 * and no queue. `approve` makes it queued; a denial, a cancellation and its time settle it: see approval-record.ts.
 *
 * `fence` counts every `begin` and never goes back: a worker may settle or hand back only while it is what `begin` gave
 * it. A worker that lost its lock finds another number and is refused. It is ours rather than the queue's own counter
 * because it must survive a job being put into the queue again by the sweep. `starts` counts the starts that may have
 * run something, of which there are at most MAX_STARTS.
 */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { LANES } from '../contract/lane.ts';
import { jobState, outcome } from '../contract/result.ts';
import type { Entry } from './fair-share.ts';
import { jsonOf } from './json-field.ts';
import { keys } from './keys.ts';

const number = z.coerce.number();

/** The fields of a record, apart from the spec, which only its worker reads. */
const jobRecord = z.object({
  tenant: z.string(),
  state: jobState,
  acceptedAt: number,
  expiresAt: number,
  retainMs: number,
  budgetMs: number,
  image: z.string(),
  runtime: z.string(),
  labels: jsonOf(z.record(z.string(), z.string())),
  lane: z.enum(LANES),
  /** Its place in the queue, while it waits there; see fair-share.ts. */
  tag: number.optional(),
  batch: z.string().optional(),
  starts: number,
  fence: number.default(0),
  handedBack: number.default(0),
  takenAt: number.optional(),
  worker: z.string().optional(),
  cancelledBy: z.enum(['caller', 'operator']).optional(),
  /** The approval without which it must not start, and whether that was given. */
  needsApproval: z.string().optional(),
  approval: z.literal('approved').optional(),
  /** See signature.ts; absent where the API has no signing key. */
  signature: z.string().optional(),
  /** Present once somebody asked for its live output: see live.ts. */
  followed: z.literal('1').optional(),
  outcome: jsonOf(outcome).optional(),
  finishedAt: number.optional(),
});

export type JobRecord = z.infer<typeof jobRecord>;

/** The hash as HGETALL answers inside a script: names and values in turn. */
export const fieldsOf = (flat: readonly string[]): Record<string, string> => {
  const fields: Record<string, string> = {};
  for (let at = 0; at + 1 < flat.length; at += 2)
    fields[flat[at] as string] = flat[at + 1] as string;
  return fields;
};

export const recordOf = (fields: Readonly<Record<string, string>>): JobRecord =>
  jobRecord.parse(fields);

/** Its place in the queue; undefined when it is not to be there. */
export function turnOf(id: string, record: JobRecord | undefined): Entry | undefined {
  if (record?.state !== 'queued' || record.tag === undefined) return undefined;
  return { id, lane: record.lane, priority: Math.floor(record.tag) + 1 };
}

const RECORD_FIELDS = Object.keys(jobRecord.shape);

const fromValues = (values: readonly (string | null)[]): JobRecord | undefined => {
  if (values[0] === null || values[0] === undefined) return undefined;
  const fields: Record<string, string> = {};
  RECORD_FIELDS.forEach((name, index) => {
    const value = values[index];
    if (value !== null && value !== undefined) fields[name] = value;
  });
  return recordOf(fields);
};

/** The record of a job, without its spec; undefined where there is none. */
export async function readRecord(redis: Redis, id: string): Promise<JobRecord | undefined> {
  return fromValues(await redis.hmget(keys.job(id), ...RECORD_FIELDS));
}

/** Many records in one round trip, in the order of the ids. */
export async function readRecords(
  redis: Redis,
  ids: readonly string[],
): Promise<(JobRecord | undefined)[]> {
  if (ids.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.hmget(keys.job(id), ...RECORD_FIELDS);
  const replies = (await pipeline.exec()) ?? [];
  return replies.map(([error, values]) => {
    if (error) throw error;
    return fromValues(values as (string | null)[]);
  });
}
