/** awaiting_approval → queued, once as many approved as have to; see approval-record.ts. And what such a yes is kept for. */
import type { Redis } from 'ioredis';
import type { Decision } from '../contract/approval.ts';
import { END_APPROVAL } from './approval-record.ts';
import { type Entry, entriesOf, FAIR_SHARE } from './fair-share.ts';
import { keys, PREFIX } from './keys.ts';
import { RELEASE } from './release.ts';
import { defineScript } from './script.ts';

/** What an edit makes of the job: these replace what its record says. */
export interface EditedJob {
  readonly spec: string;
  readonly image: string;
  readonly runtime: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly retainMs: number;
  readonly budgetMs: number;
  readonly signature: string;
}

export interface Edit {
  readonly job: EditedJob;
  readonly fingerprint: string;
  readonly shown: string;
  readonly request: string;
}

export interface Approval {
  readonly id: string;
  readonly job: string;
  readonly tenant: string;
  /** Whose yes it is; null where its time decides, which needs no quorum. */
  readonly voter: string | null;
  readonly decision: Decision;
  /** What is approved: nothing happens where it is another by now. */
  readonly fingerprint: string;
  readonly edit: Edit | null;
  readonly nowMs: number;
}

export type Approved =
  /** The job goes on; what may enter the queue now, which whoever approves puts there. */
  | { readonly kind: 'released'; readonly entries: readonly Entry[] }
  /** Others have to approve as well. */
  | { readonly kind: 'counted' }
  | { readonly kind: 'changed' | 'decided' | 'unknown' };

/* KEYS approval, job */
const APPROVE = defineScript(`${FAIR_SHARE}${RELEASE}${END_APPROVAL}
  local id, prefix, now, voter, decision, fingerprint = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
  local known = redis.call('HMGET', KEYS[1], 'state', 'fingerprint', 'quorum', 'rememberMs', 'job')
  local job = redis.call('HMGET', KEYS[2], 'state', 'batch', 'passed', 'tenant')
  if not known[1] then return {'unknown'} end
  if known[1] ~= 'pending' or job[1] ~= 'awaiting_approval' then return {'decided'} end
  if known[2] ~= fingerprint then return {'changed'} end

  local votes = {}
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 3) == 'by:' then votes[#votes + 1] = field end
  end
  if ARGV[7] ~= '' then
    -- Those who approved before approved something else.
    for _, field in ipairs(votes) do redis.call('HDEL', KEYS[1], field) end
    votes = {}
    fingerprint = ARGV[7]
    redis.call('HSET', KEYS[1], 'fingerprint', fingerprint, 'shown', ARGV[8], 'request', ARGV[9])
    for at = 10, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
  end
  if voter ~= '' then
    if redis.call('HSETNX', KEYS[1], 'by:' .. voter, 1) == 1 then
      votes[#votes + 1] = voter
      note_decision(KEYS[1], decision)
      decision = ''
    end
    if #votes < tonumber(known[3]) then return {'counted'} end
  end

  end_approval(prefix, id, 'approved', voter == '' and decision or '', now)
  if voter ~= '' and tonumber(known[4]) > 0 then
    redis.call('SET', prefix .. ':remembered:' .. job[4] .. ':' .. fingerprint, id, 'PX', known[4])
  end
  redis.call('HSET', KEYS[2], 'state', 'queued', 'approval', 'approved')
  local answer = {'released'}
  if not job[2] then
    enter_queue(answer, prefix, known[5], now)
  elseif job[3] then
    local batch = prefix .. ':batch:' .. job[2]
    redis.call('RPUSH', batch .. ':approved', known[5])
    release_batch(answer, prefix, batch, now)
  end
  return answer
`);

export async function approve(redis: Redis, approval: Approval): Promise<Approved> {
  const { edit } = approval;
  const [kind, ...flat] = (await APPROVE.run(
    redis,
    [keys.approval(approval.id), keys.job(approval.job)],
    [
      approval.id,
      PREFIX,
      approval.nowMs,
      approval.voter ?? '',
      JSON.stringify(approval.decision),
      approval.fingerprint,
      edit?.fingerprint ?? '',
      edit?.shown ?? '',
      edit?.request ?? '',
      ...(edit === null ? [] : fieldsOf(edit.job)),
    ],
  )) as [Approved['kind'], ...(string | number)[]];
  return kind === 'released' ? { kind, entries: entriesOf(flat) } : { kind };
}

const fieldsOf = ({ labels, ...job }: EditedJob): (string | number)[] =>
  Object.entries({ ...job, labels: JSON.stringify(labels) }).flat();

/** The approval that was given before to the same request of the same caller, and still holds. */
export async function findRemembered(
  redis: Redis,
  { tenant, fingerprint }: { tenant: string; fingerprint: string },
): Promise<string | undefined> {
  return (await redis.get(keys.remembered(tenant, fingerprint))) ?? undefined;
}
