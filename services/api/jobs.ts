/** Jobs as their owner sees them: read, wait, list, cancel. Whoever is not the owner sees nothing, as if there were none. */
import type { Redis } from 'ioredis';
import type { JobPage, JobSummary } from '../../shared/contract/page.ts';
import type { JobState } from '../../shared/contract/result.ts';
import { AppError } from '../../shared/errors.ts';
import { cancelRunning } from '../../shared/queue/cancel.ts';
import { openJobView } from '../../shared/queue/end-without-run.ts';
import { type JobRecord, readRecord, readRecords } from '../../shared/queue/job-record.ts';
import { keys } from '../../shared/queue/keys.ts';
import { settleWithoutRun } from '../../shared/queue/settle-without-run.ts';
import type { Caller } from './auth.ts';
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
  readonly limit: number;
  readonly cursor: string | undefined;
}

/** A filter may match few jobs: at most so many are looked at for one page. */
const MAX_LOOKED_AT = 2_000;
const LOOK_AT_ONCE = 200;

export interface Jobs {
  /** The job now, or when it is done within the wait. */
  get(caller: Caller, id: string, waitMs: number): Promise<JobView>;
  /** Asks for the end of a job; done already, it stays as it is. */
  cancel(caller: Caller, id: string): Promise<JobView>;
  list(caller: Caller, query: ListQuery): Promise<JobPage>;
  artifact(caller: Caller, id: string, path: string): Promise<Buffer>;
  /** The paths of all artifacts of a job. */
  artifactPaths(caller: Caller, id: string): Promise<string[]>;
}

export function createJobs({ redis, results }: { redis: Redis; results: Results }): Jobs {
  const ownRecord = async (caller: Caller, id: string): Promise<JobRecord> => {
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
      const record = await ownRecord(caller, id);
      if (record.state === 'queued') {
        const outcome = { kind: 'cancelled', by: 'caller' } as const;
        await settleWithoutRun(redis, { id, record, outcome });
      }
      // It may have started meanwhile, or have been running all along.
      await cancelRunning(redis, id, 'caller');
      return view(id, await ownRecord(caller, id));
    },
    async list(caller, query) {
      let edge = query.beforeMs === undefined ? '+inf' : `(${query.beforeMs}`;
      let skip = 0;
      const jobs: JobSummary[] = [];
      if (query.cursor !== undefined) ({ edge, skip } = parseCursor(query.cursor));
      for (let lookedAt = 0; lookedAt < MAX_LOOKED_AT; ) {
        const page = await readPage(redis, { caller, edge, skip, afterMs: query.afterMs });
        for (const [index, one] of page.entries()) {
          if (one.record !== undefined && matches(one.record, query)) {
            jobs.push(summaryOf(one.id, one.record));
          }
          if (jobs.length === query.limit) {
            return { jobs, next: cursorAfter(page, index, { edge, skip }) };
          }
        }
        lookedAt += page.length;
        if (page.length < LOOK_AT_ONCE) return { jobs, next: null };
        ({ edge, skip } = parseCursor(cursorAfter(page, page.length - 1, { edge, skip })));
      }
      return { jobs, next: `${edge}.${skip}` };
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

interface Listed {
  readonly id: string;
  readonly score: string;
  readonly record: JobRecord | undefined;
}

/** The newest jobs first, from `edge` on, without the first `skip` of them. */
async function readPage(
  redis: Redis,
  from: { caller: Caller; edge: string; skip: number; afterMs: number | undefined },
): Promise<Listed[]> {
  const flat = await redis.zrevrangebyscore(
    keys.tenantJobs(from.caller.tenant),
    from.edge,
    from.afterMs ?? '-inf',
    'WITHSCORES',
    'LIMIT',
    from.skip,
    LOOK_AT_ONCE,
  );
  const ids = flat.filter((_, index) => index % 2 === 0);
  const records = await readRecords(redis, ids);
  const forgotten = ids.filter((_, index) => records[index] === undefined);
  if (forgotten.length > 0)
    redis.zrem(keys.tenantJobs(from.caller.tenant), forgotten).catch(() => {});
  return ids.map((id, index) => ({ id, score: flat[index * 2 + 1] ?? '', record: records[index] }));
}

/** A cursor is the time of the last job seen and how many of that millisecond were seen: `1700000000000.2`. */
function cursorAfter(
  page: readonly Listed[],
  index: number,
  from: { edge: string; skip: number },
): string {
  const score = page[index]?.score ?? from.edge;
  const seen = page.slice(0, index + 1).filter((one) => one.score === score).length;
  const before = score === from.edge ? from.skip : 0;
  return `${score}.${seen + before}`;
}

function parseCursor(cursor: string): { edge: string; skip: number } {
  const [, edge, skip] = cursor.match(/^(\d{1,15})\.(\d{1,9})$/) ?? [];
  if (edge === undefined) {
    throw new AppError('REQUEST_INVALID', {
      field: 'cursor',
      detail: 'cursor: expected the `next` of an earlier page',
    });
  }
  return { edge, skip: Number(skip) };
}

function matches(record: JobRecord, { state, label }: ListQuery): boolean {
  if (state !== undefined && record.state !== state) return false;
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
