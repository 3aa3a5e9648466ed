/**
 * One approval in Redis, beside the job that it holds back. It is written in the call that admits the job and ends in
 * the call that releases or settles it, so that a job never waits for what nobody can decide:
 *
 *     (nothing) ── admit ──► pending ── approve: as many as the quorum, or onExpire ──► approved
 *                               │
 *                               ├──── deny ──────────────────────────────────────────► denied
 *                               ├──── its time is over ──────────────────────────────► expired
 *                               └──── the job's owner cancels ───────────────────────► cancelled
 *
 * `by:<name>` is there for each person who approved; `decisions` are lines of JSON. `request` is what was sent, for an
 * edit to start from, and goes at the end; `shown` is the same with secrets masked, for people.
 */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { approvalState, decision } from '../contract/approval.ts';
import { jsonOf } from './json-field.ts';
import { keys } from './keys.ts';

/** How long an approval can be looked at after its end. */
export const KEPT_MS = 7 * 24 * 3_600_000;

const number = z.coerce.number();
const texts = jsonOf(z.array(z.string()));
const fields = z.record(z.string(), z.unknown());

const approvalRecord = z.object({
  state: approvalState,
  job: z.string(),
  batch: z.string().optional(),
  tenant: z.string(),
  grant: z.string(),
  name: z.string(),
  rule: z.string(),
  reason: z.string(),
  approvers: texts,
  quorum: number,
  mayEdit: texts,
  notify: texts,
  createdAt: number,
  expiresAt: number,
  onExpire: z.enum(['deny', 'approve']),
  rememberMs: number,
  fingerprint: z.string(),
  revision: z.string(),
  shown: jsonOf(fields),
  request: jsonOf(fields).optional(),
  decidedAt: number.optional(),
  decisions: z
    .string()
    .default('')
    .transform((text) => (text === '' ? [] : text.split('\n').map((line) => JSON.parse(line))))
    .pipe(z.array(decision)),
});

export type ApprovalRecord = z.output<typeof approvalRecord>;

/** What is written of an approval when its job is admitted. */
export interface NewApproval {
  readonly id: string;
  readonly batch: string | null;
  readonly grant: string;
  readonly name: string;
  readonly rule: string;
  readonly reason: string;
  readonly approvers: readonly string[];
  readonly quorum: number;
  readonly mayEdit: readonly string[];
  readonly notify: readonly string[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly onExpire: 'deny' | 'approve';
  readonly rememberMs: number;
  readonly fingerprint: string;
  readonly revision: string;
  /** The request as JSON, secrets masked. */
  readonly shown: string;
  /** As it was sent; null where nothing of it may be edited. */
  readonly request: string | null;
  /** Approvals asked for before are gone from the lists. */
  readonly forgetBeforeMs: number;
}

/** An approval as one argument of the scripts that admit: PARK reads it. '' without one. */
export function encodeApproval(
  approval: NewApproval | null | undefined,
  job: { id: string; tenant: string },
): string {
  if (approval === null || approval === undefined) return '';
  const { id, batch, request } = approval;
  const record = {
    state: 'pending',
    job: job.id,
    ...(batch === null ? {} : { batch }),
    tenant: job.tenant,
    grant: approval.grant,
    name: approval.name,
    rule: approval.rule,
    reason: approval.reason,
    approvers: JSON.stringify(approval.approvers),
    quorum: String(approval.quorum),
    mayEdit: JSON.stringify(approval.mayEdit),
    notify: JSON.stringify(approval.notify),
    createdAt: String(approval.createdAtMs),
    expiresAt: String(approval.expiresAtMs),
    onExpire: approval.onExpire,
    rememberMs: String(approval.rememberMs),
    fingerprint: approval.fingerprint,
    revision: approval.revision,
    shown: approval.shown,
    ...(request === null ? {} : { request }),
  };
  return JSON.stringify({
    id,
    createdAt: String(approval.createdAtMs),
    expiresAt: String(approval.expiresAtMs),
    forgetBefore: `(${approval.forgetBeforeMs}`,
    isToAnnounce: approval.notify.length > 0,
    fields: Object.entries(record).flat(),
  });
}

/** Lua, to stand at the head of a script that admits. */
export const PARK = `
  -- The job's record is there already, as that of a queued one.
  local function park(prefix, job, tenant, encoded)
    local approval = cjson.decode(encoded)
    local id, created = approval.id, approval.createdAt
    redis.call('HSET', prefix .. ':approval:' .. id, unpack(approval.fields))
    redis.call('HSET', job, 'state', 'awaiting_approval', 'needsApproval', id)
    redis.call('ZADD', prefix .. ':approvals:pending', approval.expiresAt, id)
    if approval.isToAnnounce then redis.call('ZADD', prefix .. ':approvals:unannounced', created, id) end
    for _, list in ipairs({prefix .. ':approvals', prefix .. ':tenant:' .. tenant .. ':approvals'}) do
      redis.call('ZADD', list, created, id)
      redis.call('ZREMRANGEBYSCORE', list, '-inf', approval.forgetBefore)
    end
  end
`;

/** Lua, to stand at the head of a script that takes a job out of awaiting_approval. */
export const END_APPROVAL = `
  local function note_decision(approval, decision)
    if decision == '' then return end
    local before = redis.call('HGET', approval, 'decisions')
    if before then decision = before .. '\\n' .. decision end
    redis.call('HSET', approval, 'decisions', decision)
  end

  local function end_approval(prefix, id, as, decision, now)
    local approval = prefix .. ':approval:' .. id
    redis.call('ZREM', prefix .. ':approvals:pending', id)
    redis.call('ZREM', prefix .. ':approvals:unannounced', id)
    if redis.call('HGET', approval, 'state') ~= 'pending' then return end
    redis.call('HDEL', approval, 'request')
    redis.call('HSET', approval, 'state', as, 'decidedAt', now)
    note_decision(approval, decision)
    redis.call('PEXPIRE', approval, ${KEPT_MS})
  end
`;

/** Undefined where there is none, or not any more. */
export async function readApproval(redis: Redis, id: string): Promise<ApprovalRecord | undefined> {
  return recordOf(await redis.hgetall(keys.approval(id)));
}

/** Many in one round trip, in the order of the ids. */
export async function readApprovals(
  redis: Redis,
  ids: readonly string[],
): Promise<(ApprovalRecord | undefined)[]> {
  if (ids.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.hgetall(keys.approval(id));
  const replies = (await pipeline.exec()) ?? [];
  return replies.map(([error, values]) => {
    if (error) throw error;
    return recordOf(values as Record<string, string>);
  });
}

const recordOf = (values: Readonly<Record<string, string>>): ApprovalRecord | undefined =>
  values.state === undefined ? undefined : approvalRecord.parse(values);
