/** Jobs of a batch: their records, and the way into the queue for as many as its window has room for; all or none. */
import type { Redis } from 'ioredis';
import type { NewJob, Share } from './admit.ts';
import { encodeApproval, PARK } from './approval-record.ts';
import { type Entry, entriesOf, FAIR_SHARE } from './fair-share.ts';
import { KEEP_PLACES } from './holds.ts';
import { keys, PREFIX } from './keys.ts';
import { RELEASE } from './release.ts';
import { defineScript } from './script.ts';

export interface BatchJob extends NewJob {
  /** Its place in the upload, from 0. */
  readonly index: number;
  readonly key: string | null;
  /** What must be the same when it is sent again. */
  readonly digest: string;
  /** '' of one that is there already, and is never made anew: nobody granted it this time. */
  readonly spec: string;
}

export type BatchAdmitted =
  | {
      readonly kind: 'accepted';
      /** How many are new. */
      readonly added: number;
      /** Where in the call the others stood, which were there. */
      readonly known: readonly number[];
      readonly released: readonly Entry[];
    }
  /** Its key belongs to another job: nothing of this call was accepted. */
  | { readonly kind: 'key_reused'; readonly index: number }
  | { readonly kind: 'full' | 'tenant_full' | 'closed' };

const FIELDS_OF_A_JOB = 15;

/* KEYS batch, its jobs, open, tenants open, open batches */
const ADMIT_BATCH = defineScript(`${FAIR_SHARE}${RELEASE}${PARK}${KEEP_PLACES}
  local batch, tenant, now, max, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
  local cost, cap, prefix, first, width = ARGV[6], ARGV[7], ARGV[8], 9, ${FIELDS_OF_A_JOB}
  local known = redis.call('HMGET', KEYS[1], 'sealed', 'stopping', 'total')
  local fresh, seen, there = {}, {}, {}
  for at = first, #ARGV, width do
    local id = ARGV[at]
    local digest = seen[id] or redis.call('HGET', prefix .. ':job:' .. id, 'digest')
    if not digest and ARGV[at + 4] == '' then
      -- It was there when it was looked for, and has been forgotten since.
      there[#there + 1] = (at - first) / width
    elseif not digest then
      seen[id] = ARGV[at + 1]
      fresh[#fresh + 1] = at
    elseif digest ~= ARGV[at + 1] then
      return {'key_reused', ARGV[at + 2]}
    else
      there[#there + 1] = (at - first) / width
    end
  end
  if #fresh > 0 then
    if not known[3] or known[1] or known[2] then return {'closed'} end
    if redis.call('ZCARD', KEYS[3]) + #fresh > max then return {'full'} end
    if (tonumber(redis.call('HGET', KEYS[4], tenant)) or 0) + #fresh > most then return {'tenant_full'} end
  end
  local added = 0
  for _, at in ipairs(fresh) do
    local id = ARGV[at]
    local job = prefix .. ':job:' .. id
    local lane, key = string.match(ARGV[at + 3], '^(%a+) ?(.*)$')
    redis.call('HSET', job, 'digest', ARGV[at + 1], 'tenant', tenant, 'state', 'queued', 'spec', ARGV[at + 4],
      'acceptedAt', now, 'expiresAt', ARGV[at + 8], 'retainMs', ARGV[at + 9], 'image', ARGV[at + 5],
      'runtime', ARGV[at + 6], 'labels', ARGV[at + 7], 'budgetMs', ARGV[at + 10], 'starts', 0, 'lane', lane,
      'batch', batch, 'index', ARGV[at + 2])
    if key ~= '' then redis.call('HSET', job, 'key', key) end
    if cost ~= '1' then redis.call('HSET', job, 'cost', cost) end
    if cap ~= '' then redis.call('HSET', job, 'cap', cap) end
    if ARGV[at + 12] ~= '' then redis.call('HSET', job, 'signature', ARGV[at + 12]) end
    if ARGV[at + 13] ~= '' then redis.call('HSET', job, 'callback', ARGV[at + 13]) end
    if ARGV[at + 14] ~= '' then
      redis.call('HSET', job, 'holds', ARGV[at + 14])
      keep_places(prefix, ARGV[at + 14])
    end
    if ARGV[at + 11] ~= '' then park(prefix, job, tenant, ARGV[at + 11]) end
    redis.call('ZADD', KEYS[3], ARGV[at + 8], id)
    redis.call('RPUSH', KEYS[2], id)
    added = added + 1
  end
  -- Jobs that were there already are the sign of an upload that is sent again.
  redis.call('ZADD', KEYS[5], 'XX', now, batch)
  local answer = {'accepted', added, table.concat(there, ' ')}
  if added > 0 then
    redis.call('HINCRBY', KEYS[1], 'total', added)
    redis.call('HINCRBY', KEYS[4], tenant, added)
    release_batch(answer, prefix, KEYS[1], now)
  end
  return answer
`);

export async function admitBatchJobs(
  redis: Redis,
  upload: {
    batch: string;
    tenant: string;
    share: Share;
    acceptedAtMs: number;
    maxOpenJobs: number;
    jobs: readonly BatchJob[];
  },
): Promise<BatchAdmitted> {
  const { batch, tenant, share } = upload;
  const [kind, first, known, ...released] = (await ADMIT_BATCH.run(
    redis,
    [keys.batch(batch), keys.batchJobs(batch), keys.open(), keys.tenantsOpen(), keys.openBatches()],
    [
      batch,
      tenant,
      upload.acceptedAtMs,
      upload.maxOpenJobs,
      share.maxOpenJobs,
      share.cost,
      share.maxRunningJobs ?? '',
      PREFIX,
      ...upload.jobs.flatMap((job) => fieldsOfJob(job, tenant)),
    ],
  )) as [BatchAdmitted['kind'], number | string | undefined, string?, ...(string | number)[]];
  switch (kind) {
    case 'accepted':
      return {
        kind,
        added: Number(first),
        known: known ? known.split(' ').map(Number) : [],
        released: entriesOf(released),
      };
    case 'key_reused':
      return { kind, index: Number(first) };
    default:
      return { kind };
  }
}

/** Which of these jobs are here already. */
export async function findAdmitted(
  redis: Redis,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.hexists(keys.job(id), 'digest');
  const replies = (await pipeline.exec()) ?? [];
  const known = ids.filter((_, at) => {
    const [error, is] = replies[at] ?? [];
    if (error) throw error;
    return is === 1;
  });
  return new Set(known);
}

const fieldsOfJob = (job: BatchJob, tenant: string): (string | number)[] => [
  job.id,
  job.digest,
  job.index,
  job.key === null ? job.lane : `${job.lane} ${job.key}`,
  job.spec,
  job.image,
  job.runtime,
  JSON.stringify(job.labels),
  job.expiresAtMs,
  job.retainMs,
  job.budgetMs,
  encodeApproval(job.approval, { id: job.id, tenant }),
  job.signature ?? '',
  job.callback ?? '',
  job.holds ?? '',
];
