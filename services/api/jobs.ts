/** Jobs as their owner sees them: read, wait, list, cancel. Whoever is not the owner sees nothing, as if there were none. */
import type { Redis } from 'ioredis';
import type { JobPage, JobSummary } from '../../shared/contract/page.ts';
import type { JobState } from '../../shared/contract/result.ts';
import { AppError } from '../../shared/errors.ts';
import { readBatch } from '../../shared/queue/batch-record.ts';
import { cancelRunning } from '../../shared/queue/cancel.ts';
import { openJobView } from '../../shared/queue/end-without-run.ts';
import type { Entrance } from '../../shared/queue/entrance.ts';
import { type JobRecord, readRecord, readRecords } from '../../shared/queue/job-record.ts';
import { keys } from '../../shared/queue/keys.ts';
import { settleWithoutRun } from '../../shared/queue/settle-without-run.ts';
import type { Owner } from './auth.ts';
import type { Results } from './results.ts';

export interface JobView {
  readonly isDone: boolean;
  /** A result object as JSON; of a job that is done exactly as it is stored. */
  readonly json: string;
}

export interface ListQuery {
  readonly state: JobState | undefined;
  /** `name` or `name=value`. */
  readonly label: string | undefined;
  readonly afterMs: number | undefined;
  readonly beforeMs: number | undefined;
  /** Only the jobs of this batch, in its order; by itself the list leaves jobs of batches out. */
  readonly batch: string | undefined;
  readonly limit: number;
  readonly cursor: string | undefined;
}

/** A filter may match few jobs: at most so many are looked at for one page. */
const MAX_LOOKED_AT = 2_000;
const LOOK_AT_ONCE = 200;

export interface Jobs {
  /** The job now, or when it is done within the wait. */
  get(caller: Owner, id: string, waitMs: number): Promise<JobView>;
  /** Asks for the end of a job; done already, it stays as it is. */
  cancel(caller: Owner, id: string): Promise<JobView>;
  list(caller: Owner, query: ListQuery): Promise<JobPage>;
  artifact(caller: Owner, id: string, path: string): Promise<Buffer>;
  /** The paths of all artifacts of a job. */
  artifactPaths(caller: Owner, id: string): Promise<string[]>;
}

export function createJobs(options: { redis: Redis; results: Results; entrance: Entrance }): Jobs {
  const { redis, results, entrance } = options;
  const ownRecord = async (caller: Owner, id: string): Promise<JobRecord> => {
    const record = await readRecord(redis, id);
    if (record === undefined || record.tenant !== caller.tenant) throw new AppError('NOT_FOUND');
    return record;
  };

  const view = async (id: string, record: JobRecord): Promise<JobView> => {
    if (record.state !== 'done')
      return { isDone: false, json: JSON.stringify(openJobView(id, record)) };
    const json = await redis.get(keys.result(id));
    if (json === null) throw new AppError('NOT_FOUND');
    return { isDone: true, json };
  };

  const get: Jobs['get'] = async (caller, id, waitMs) => {
    const record = await ownRecord(caller, id);
    if (record.state === 'done' || waitMs === 0) return view(id, record);
    const json = await results.join(id, waitMs);
    if (json !== undefined) return { isDone: true, json };
    return view(id, await ownRecord(caller, id));
  };

  return {
    get,
    async cancel(caller, id) {
      for (let record = await ownRecord(caller, id); isWaiting(record); ) {
        const outcome = { kind: 'cancelled', by: 'caller' } as const;
        const { as, released } = await settleWithoutRun(redis, { id, record, outcome });
        entrance.release(released);
        if (as !== 'fenced') break;
        // It was approved, begun or handed back just now.
        record = await ownRecord(caller, id);
      }
      // It may have started meanwhile, or have been running all along.
      await cancelRunning(redis, id, 'caller');
      return view(id, await ownRecord(caller, id));
    },
    async list(caller, query) {
      const { tenant } = caller;
      if (query.batch !== undefined) return listBatch(redis, tenant, query.batch, query);
      let from = query.cursor === undefined ? startOf(query) : parseCursor(query.cursor);
      const jobs: JobSummary[] = [];
      for (let lookedAt = 0; lookedAt < MAX_LOOKED_AT; lookedAt += LOOK_AT_ONCE) {
        const page = await readPage(redis, { tenant, from, afterMs: query.afterMs });
        for (const { id, score, record } of page.listed) {
          from = { edge: score, afterId: id, skip: 0 };
          if (record === undefined || !matches(record, query)) continue;
          jobs.push(summaryOf(id, record));
          if (jobs.length === query.limit) return { jobs, next: cursorOf(from) };
        }
        if (page.isLast) return { jobs, next: null };
        // All of a page had been seen: so many jobs share one millisecond that the next starts further on.
        if (page.listed.length === 0) from = { ...from, skip: from.skip + LOOK_AT_ONCE };
      }
      return { jobs, next: cursorOf(from) };
    },
    async artifact(caller, id, path) {
      await ownRecord(caller, id);
      const content = await redis.hgetBuffer(keys.artifacts(id), path);
      if (content === null) throw new AppError('NOT_FOUND');
      return content;
    },
    async artifactPaths(caller, id) {
      await ownRecord(caller, id);
      return (await redis.hkeys(keys.artifacts(id))).sort();
    },
  };
}

const isWaiting = ({ state }: JobRecord): boolean =>
  state === 'queued' || state === 'awaiting_approval';

async function listBatch(
  redis: Redis,
  tenant: string,
  batch: string,
  query: ListQuery,
): Promise<JobPage> {
  if ((await readBatch(redis, batch))?.tenant !== tenant) throw new AppError('NOT_FOUND');
  if (!/^\d{1,9}$/.test(query.cursor ?? '0')) throw wrongCursor();
  let at = Number(query.cursor ?? 0);
  const jobs: JobSummary[] = [];
  for (const until = at + MAX_LOOKED_AT; at < until; ) {
    const ids = await redis.lrange(keys.batchJobs(batch), at, at + LOOK_AT_ONCE - 1);
    if (ids.length === 0) return { jobs, next: null };
    const records = await readRecords(redis, ids);
    for (const [offset, id] of ids.entries()) {
      const record = records[offset];
      if (record === undefined || !matches(record, query)) continue;
      jobs.push(summaryOf(id, record));
      if (jobs.length === query.limit) return { jobs, next: String(at + offset + 1) };
    }
    at += ids.length;
  }
  return { jobs, next: String(at) };
}

/** A place in the list: after the job `afterId` of the time `edge`. */
interface Place {
  readonly edge: string;
  readonly afterId: string | undefined;
  readonly skip: number;
}

interface Page {
  readonly listed: { id: string; score: string; record: JobRecord | undefined }[];
  readonly isLast: boolean;
}

const startOf = ({ beforeMs }: ListQuery): Place => ({
  edge: beforeMs === undefined ? '+inf' : `(${beforeMs}`,
  afterId: undefined,
  skip: 0,
});

/** The newest jobs first, from a place on. Redis orders those of one millisecond by their ids, the last first. */
async function readPage(
  redis: Redis,
  {
    tenant,
    from,
    afterMs = '-inf',
  }: { tenant: string; from: Place; afterMs: number | string | undefined },
): Promise<Page> {
  const key = keys.tenantJobs(tenant);
  const range = [from.edge, afterMs, 'WITHSCORES', 'LIMIT', from.skip, LOOK_AT_ONCE] as const;
  const flat = await redis.zrevrangebyscore(key, ...range);
  const all = Array.from({ length: flat.length / 2 }, (_, index) => ({
    id: flat[index * 2] as string,
    score: flat[index * 2 + 1] as string,
  }));
  const { edge, afterId } = from;
  const unseen = all.filter(
    ({ id, score }) => score !== edge || afterId === undefined || id < afterId,
  );
  const records = await readRecords(
    redis,
    unseen.map(({ id }) => id),
  );
  const forgotten = unseen.filter((_, index) => records[index] === undefined);
  if (forgotten.length > 0) redis.zrem(key, ...forgotten.map(({ id }) => id)).catch(() => {});
  return {
    listed: unseen.map((one, index) => ({ ...one, record: records[index] })),
    isLast: all.length < LOOK_AT_ONCE,
  };
}

const cursorOf = ({ edge, afterId }: Place): string => `${edge}.${afterId}`;

function parseCursor(cursor: string): Place {
  const [, edge, afterId] = cursor.match(/^(\d{1,15})\.(job_[0-9a-f]{32})$/) ?? [];
  if (edge === undefined) throw wrongCursor();
  return { edge, afterId, skip: 0 };
}

const wrongCursor = (): AppError =>
  new AppError('REQUEST_INVALID', {
    field: 'cursor',
    detail: 'cursor: expected the `next` of an earlier page',
  });

function matches(record: JobRecord, { state, label, afterMs, beforeMs }: ListQuery): boolean {
  if (state !== undefined && record.state !== state) return false;
  if (record.acceptedAt < (afterMs ?? 0) || record.acceptedAt >= (beforeMs ?? Infinity))
    return false;
  if (label === undefined) return true;
  const [name = '', value] = splitOnce(label);
  return value === undefined ? Object.hasOwn(record.labels, name) : record.labels[name] === value;
}

const splitOnce = (text: string): [string, string | undefined] => {
  const at = text.indexOf('=');
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
};

const summaryOf = (id: string, record: JobRecord): JobSummary => ({
  id,
  state: record.state,
  outcome: record.outcome ?? null,
  image: record.image,
  labels: record.labels,
  acceptedAt: new Date(record.acceptedAt).toISOString(),
  finishedAt: record.finishedAt === undefined ? null : new Date(record.finishedAt).toISOString(),
});
