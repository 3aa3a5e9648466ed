/** (nothing) → queued or awaiting_approval: the record, what comes next and the idempotency record, all or none. */
import type { Redis } from 'ioredis';
import type { Lane } from '../contract/lane.ts';
import { encodeApproval, type NewApproval, PARK } from './approval-record.ts';
import { FAIR_SHARE } from './fair-share.ts';
import { KEEP_PLACES } from './holds.ts';
import { keys, PREFIX } from './keys.ts';
import { defineScript } from './script.ts';

/** Idempotency is kept for a day at least, and never shorter than the job and its result. */
const IDEMPOTENCY_MS = 24 * 3_600_000;

/** What of a job goes into its record, alone or in a batch. */
export interface NewJob {
  readonly id: string;
  readonly lane: Lane;
  readonly spec: string;
  readonly image: string;
  readonly runtime: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly expiresAtMs: number;
  readonly retainMs: number;
  /** What a start of this job takes at most, from a worker's taking it to its result. */
  readonly budgetMs: number;
  /** Where its end is sent to, as callbackField makes it. */
  readonly callback?: string | null;
  /** See signature.ts; '' or absent without a signing key. */
  readonly signature?: string;
  /** What of its charges is settled at its end, as recordedHolds makes it. */
  readonly holds?: string | null;
  /** What has to be approved before it enters the queue. */
  readonly approval?: NewApproval | null;
}

/** What a tenant may have and what it is due. */
export interface Share {
  /** What a job costs it in virtual time: see fair-share.ts. */
  readonly cost: number;
  readonly maxOpenJobs: number;
  /** Jobs that run at once, at most; null without a bound. */
  readonly maxRunningJobs: number | null;
}

export interface Admission extends NewJob {
  readonly tenant: string;
  readonly share: Share;
  readonly acceptedAtMs: number;
  /** The API process that waits for the result, or '' when none does. */
  readonly replyTo: string;
  /** Digests of the caller's key and of its request; null without an Idempotency-Key. */
  readonly idempotency: { readonly key: string; readonly body: string } | null;
  readonly maxOpenJobs: number;
  /** Jobs accepted before are gone from the tenant's list, whatever their retention was. */
  readonly forgetBeforeMs: number;
}

export type Admitted =
  | {
      readonly kind: 'accepted';
      readonly priority: number;
      /** How far its tenant is ahead of the lane's time: 0 when it is as much its turn as anybody's. */
      readonly ahead: number;
    }
  /** Accepted, and not for the queue before it is approved. */
  | { readonly kind: 'awaiting_approval' }
  | { readonly kind: 'repeated'; readonly id: string }
  | { readonly kind: 'key_reused' }
  | { readonly kind: 'full' }
  | { readonly kind: 'tenant_full' };

/** The job that the same request made before under this key; undefined where there is none, or another made it. */
export async function findRepeated(
  redis: Redis,
  { tenant, key, body }: { tenant: string; key: string; body: string },
): Promise<string | undefined> {
  const [id, known] = await redis.hmget(keys.idempotency(tenant, key), 'id', 'body');
  return known === body ? (id ?? undefined) : undefined;
}

/* KEYS job, open, unqueued, tenant jobs, idempotency (or the job again, when there is none), tenants open, lane */
const ADMIT = defineScript(`${FAIR_SHARE}${PARK}${KEEP_PLACES}
  local id, tenant, spec, accepted, expires = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
  local body, ttl, max = ARGV[6], ARGV[7], tonumber(ARGV[8])
  if body ~= '' then
    local known = redis.call('HMGET', KEYS[5], 'id', 'body')
    if known[1] then
      if known[2] == body then return {'repeated', known[1]} end
      return {'key_reused'}
    end
  end
  if redis.call('ZCARD', KEYS[2]) >= max then return {'full'} end
  if (tonumber(redis.call('HGET', KEYS[6], tenant)) or 0) >= tonumber(ARGV[16]) then
    return {'tenant_full'}
  end
  if body ~= '' then
    redis.call('HSET', KEYS[5], 'id', id, 'body', body)
    redis.call('PEXPIRE', KEYS[5], ttl)
  end
  redis.call('HSET', KEYS[1], 'tenant', tenant, 'state', 'queued', 'spec', spec, 'acceptedAt', accepted,
    'expiresAt', expires, 'retainMs', ARGV[9], 'replyTo', ARGV[10], 'image', ARGV[11], 'runtime', ARGV[12],
    'labels', ARGV[13], 'budgetMs', ARGV[14], 'starts', 0, 'lane', ARGV[17])
  if ARGV[18] ~= '1' then redis.call('HSET', KEYS[1], 'cost', ARGV[18]) end
  if ARGV[19] ~= '' then redis.call('HSET', KEYS[1], 'cap', ARGV[19]) end
  if ARGV[22] ~= '' then redis.call('HSET', KEYS[1], 'callback', ARGV[22]) end
  if ARGV[23] ~= '' then redis.call('HSET', KEYS[1], 'signature', ARGV[23]) end
  if ARGV[24] ~= '' then
    redis.call('HSET', KEYS[1], 'holds', ARGV[24])
    keep_places(ARGV[21], ARGV[24])
  end
  redis.call('ZADD', KEYS[2], expires, id)
  redis.call('ZADD', KEYS[4], accepted, id)
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[15])
  redis.call('HINCRBY', KEYS[6], tenant, 1)
  if ARGV[20] ~= '' then
    park(ARGV[21], KEYS[1], tenant, ARGV[20])
    return {'awaiting_approval'}
  end
  redis.call('ZADD', KEYS[3], accepted, id)
  local priority, ahead = enter_lane(KEYS[7], KEYS[1], tenant, tonumber(ARGV[18]))
  return {'accepted', priority, tostring(ahead)}
`);

export async function admitJob(redis: Redis, job: Admission): Promise<Admitted> {
  const idempotencyMs = Math.max(IDEMPOTENCY_MS, job.expiresAtMs - job.acceptedAtMs + job.retainMs);
  const [kind, first, second] = (await ADMIT.run(
    redis,
    [
      keys.job(job.id),
      keys.open(),
      keys.unqueued(),
      keys.tenantJobs(job.tenant),
      job.idempotency ? keys.idempotency(job.tenant, job.idempotency.key) : keys.job(job.id),
      keys.tenantsOpen(),
      keys.lane(job.lane),
    ],
    [
      job.id,
      job.tenant,
      job.spec,
      job.acceptedAtMs,
      job.expiresAtMs,
      job.idempotency?.body ?? '',
      idempotencyMs,
      job.maxOpenJobs,
      job.retainMs,
      job.replyTo,
      job.image,
      job.runtime,
      JSON.stringify(job.labels),
      job.budgetMs,
      job.forgetBeforeMs,
      job.share.maxOpenJobs,
      job.lane,
      job.share.cost,
      job.share.maxRunningJobs ?? '',
      encodeApproval(job.approval, job),
      PREFIX,
      job.callback ?? '',
      job.signature ?? '',
      job.holds ?? '',
    ],
  )) as [Admitted['kind'], (string | number)?, string?];
  switch (kind) {
    case 'accepted':
      return { kind, priority: Number(first), ahead: Number(second) };
    case 'repeated':
      return { kind, id: String(first) };
    default:
      return { kind };
  }
}

/** See Script.reloads. */
export const admissionReloads = (): number => ADMIT.reloads;

/** Redis must know the script before the first job: what is sent behind it relies on its being executed first. */
export const loadAdmission = (redis: Redis): Promise<unknown> => ADMIT.load(redis);
