/** Approvals as lists, the newest first: of one tenant, or of all. */
import type { Redis } from 'ioredis';
import type {
  ApprovalPage,
  ApprovalState,
  ApprovalSummary,
} from '../../../shared/contract/approval.ts';
import { AppError } from '../../../shared/errors.ts';
import { readApprovals } from '../../../shared/queue/approval-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { summaryOf } from './view.ts';

export interface ApprovalQuery {
  readonly state: ApprovalState | undefined;
  readonly limit: number;
  readonly cursor: string | undefined;
}

/** A filter may match few: at most so many are looked at for one page. */
const MAX_LOOKED_AT = 2_000;
const LOOK_AT_ONCE = 100;

/** A place in the list: behind the approval `afterId` of the time `edge`. */
interface Place {
  readonly edge: string;
  readonly afterId: string | undefined;
  readonly skip: number;
}

/** `tenant` null: of all tenants. */
export async function listApprovals(
  redis: Redis,
  tenant: string | null,
  query: ApprovalQuery,
): Promise<ApprovalPage> {
  const key = tenant === null ? keys.approvals() : keys.tenantApprovals(tenant);
  const approvals: ApprovalSummary[] = [];
  let from = placeOf(query.cursor);
  for (let lookedAt = 0; lookedAt < MAX_LOOKED_AT; lookedAt += LOOK_AT_ONCE) {
    const page = await readPage(redis, key, from);
    for (const { id, score, record } of page.listed) {
      from = { edge: score, afterId: id, skip: 0 };
      if (record === undefined) continue;
      if (query.state !== undefined && record.state !== query.state) continue;
      approvals.push(summaryOf(id, record));
      if (approvals.length === query.limit) return { approvals, next: cursorOf(from) };
    }
    if (page.isLast) return { approvals, next: null };
    // All of a page had been seen: so many share one millisecond that the next starts further on.
    if (page.listed.length === 0) from = { ...from, skip: from.skip + LOOK_AT_ONCE };
  }
  return { approvals, next: cursorOf(from) };
}

async function readPage(redis: Redis, key: string, from: Place) {
  const { edge, afterId, skip } = from;
  const range = [edge, '-inf', 'WITHSCORES', 'LIMIT', skip, LOOK_AT_ONCE] as const;
  const flat = await redis.zrevrangebyscore(key, ...range);
  const all = Array.from({ length: flat.length / 2 }, (_, index) => ({
    id: flat[index * 2] as string,
    score: flat[index * 2 + 1] as string,
  }));
  const unseen = all.filter(
    ({ id, score }) => score !== edge || afterId === undefined || id < afterId,
  );
  const records = await readApprovals(
    redis,
    unseen.map(({ id }) => id),
  );
  return {
    listed: unseen.map((one, index) => ({ ...one, record: records[index] })),
    isLast: all.length < LOOK_AT_ONCE,
  };
}

const cursorOf = ({ edge, afterId }: Place): string => `${edge}.${afterId}`;

function placeOf(cursor: string | undefined): Place {
  if (cursor === undefined) return { edge: '+inf', afterId: undefined, skip: 0 };
  const [, edge, afterId] = cursor.match(/^(\d{1,15})\.(apr_[0-9a-f]{32})$/) ?? [];
  if (edge !== undefined) return { edge, afterId, skip: 0 };
  throw new AppError('REQUEST_INVALID', {
    field: 'cursor',
    detail: 'cursor: expected the `next` of an earlier page',
  });
}
