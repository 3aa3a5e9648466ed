/**
 * Every Redis key and channel, one function each. All share one hash tag, so that a script may touch several of them
 * in Redis Cluster. Ids and tenants are of our own making (hex, lower-case names): no name can collide with another.
 */

import type { Lane } from '../contract/lane.ts';

export const PREFIX = '{cofferdam}';

export const keys = {
  /** Hash: what is known of one job. Fields: see job-record.ts. */
  job: (id: string) => `${PREFIX}:job:${id}`,
  /** String: the result as JSON, exactly as it is sent. */
  result: (id: string) => `${PREFIX}:result:${id}`,
  /** Hash: path → bytes of an artifact. */
  artifacts: (id: string) => `${PREFIX}:artifacts:${id}`,
  /** The same of one start, until its result is the job's. */
  startArtifacts: (id: string, start: number) => `${PREFIX}:artifacts:${id}:${start}`,
  /** List: the output of one start of a job that somebody follows, while it runs. */
  live: (id: string, start: number) => `${PREFIX}:live:${id}:${start}`,
  /** Set: API processes that wait for this job besides the one that accepted it. */
  watchers: (id: string) => `${PREFIX}:watchers:${id}`,
  /** Hash {id, body}: the job that an Idempotency-Key made, and the digest of its request. */
  idempotency: (tenant: string, digest: string) => `${PREFIX}:idempotency:${tenant}:${digest}`,
  /** Sorted set: ids of a tenant's jobs by time of acceptance. */
  tenantJobs: (tenant: string) => `${PREFIX}:tenant:${tenant}:jobs`,
  /** Hash: tenant → its jobs that are not done. */
  tenantsOpen: () => `${PREFIX}:tenants:open`,
  /** Hash: tenant → its running jobs. */
  tenantsRunning: () => `${PREFIX}:tenants:running`,
  /** List: ids of a tenant's queued jobs that wait for one of its running jobs to end. */
  tenantParked: (tenant: string) => `${PREFIX}:tenant:${tenant}:parked`,
  /** Hash: the virtual time of a lane and of each tenant in it. See fair-share.ts. */
  lane: (lane: Lane) => `${PREFIX}:lane:${lane}`,
  /** Hash: a batch. Fields: see batch-record.ts. */
  batch: (id: string) => `${PREFIX}:batch:${id}`,
  /** List: ids of a batch's jobs, as they came. */
  batchJobs: (id: string) => `${PREFIX}:batch:${id}:jobs`,
  /** List: `index` or `index key` of a batch's jobs, as they ended. */
  batchDone: (id: string) => `${PREFIX}:batch:${id}:done`,
  /** List: ids of a batch's jobs that were approved after their turn had passed; they are the next that its window takes. */
  batchApproved: (id: string) => `${PREFIX}:batch:${id}:approved`,
  /** Sorted set: ids of batches whose upload has not ended, by when they last grew. */
  openBatches: () => `${PREFIX}:batches:open`,
  /** Set: ids of batches whose jobs are to be cancelled. */
  stoppingBatches: () => `${PREFIX}:batches:stopping`,
  /** String with a time to live: the bytes of a tenant's blob. */
  blob: (tenant: string, blob: string) => `${PREFIX}:blob:${tenant}:${blob}`,
  /** Sorted set: a tenant's blobs by when they expire. */
  tenantBlobs: (tenant: string) => `${PREFIX}:tenant:${tenant}:blobs`,
  /** Hash: blob → its bytes, and `total` → what a tenant's blobs are charged in all. */
  tenantBlobBytes: (tenant: string) => `${PREFIX}:tenant:${tenant}:blob-bytes`,
  /** Hash: a callback that is to be sent, or was given up. Fields: see callbacks.ts. */
  callback: (id: string) => `${PREFIX}:callback:${id}`,
  /** Sorted set: lanes of callbacks by when their first is due. See due-callback.ts. */
  callbackLanes: () => `${PREFIX}:callbacks:lanes`,
  /** Sorted set: ids of a lane's callbacks by when they are due. */
  callbackLane: (lane: string) => `${PREFIX}:callbacks:lane:${lane}`,
  /** Hash: tenant → its callbacks that wait or are being sent. */
  callbacksWaiting: () => `${PREFIX}:callbacks:waiting`,
  /** Sorted set: ids of a tenant's callbacks that were given up, by when. */
  callbacksDead: (tenant: string) => `${PREFIX}:callbacks:dead:${tenant}`,
  /** Hash: an API key, without its secret. Fields: see api-keys.ts. */
  apiKey: (id: string) => `${PREFIX}:api-key:${id}`,
  /** Sorted set: ids of all API keys, by when they will be forgotten. */
  apiKeys: () => `${PREFIX}:api-keys`,
  /** The same of one tenant. */
  tenantApiKeys: (tenant: string) => `${PREFIX}:tenant:${tenant}:api-keys`,
  /** Hash: tenant → its settings as JSON, of those that were set over HTTP. */
  tenantRecords: () => `${PREFIX}:tenants:records`,
  /** Number: moved by each change of a tenant. */
  tenantsRevision: () => `${PREFIX}:tenants:revision`,
  /** Sorted set: ids of jobs that are not done, by the time at which they expire. */
  open: () => `${PREFIX}:open`,
  /** Sorted set: ids of accepted jobs that may not be in the queue yet, by time of acceptance. */
  unqueued: () => `${PREFIX}:unqueued`,
  /** Sorted set: ids of running jobs, by the time at which they must have ended. */
  running: () => `${PREFIX}:running`,
  /** String with a time to live: a live worker's account of itself. */
  worker: (id: string) => `${PREFIX}:worker:${id}`,
  /** String: the name of everything that shares this Redis. */
  installation: () => `${PREFIX}:installation`,
  /** What a limit of the policy has counted: log, buckets or places. See reserve.ts. */
  limit: (counter: string) => `${PREFIX}:limit:${counter}`,
  /** Hash {document, revision, source, fileDigest, by, at}: the policy in force in every process. */
  policy: () => `${PREFIX}:policy`,
  /** Hash {reason, cancelRunning}: while it is there, no job begins. */
  killSwitch: () => `${PREFIX}:kill-switch`,
  /** Hash: an approval. Fields: see approval-record.ts. */
  approval: (id: string) => `${PREFIX}:approval:${id}`,
  /** Sorted set: ids of all approvals by when they were asked for. */
  approvals: () => `${PREFIX}:approvals`,
  /** The same of one tenant. */
  tenantApprovals: (tenant: string) => `${PREFIX}:tenant:${tenant}:approvals`,
  /** Sorted set: ids of approvals that nobody decided yet, by when their time is over. */
  pendingApprovals: () => `${PREFIX}:approvals:pending`,
  /** Sorted set: ids of approvals whose approvers were not told yet, by when they were asked for. */
  unannouncedApprovals: () => `${PREFIX}:approvals:unannounced`,
  /** String with a time to live: the approval that holds for every request with this fingerprint. */
  remembered: (tenant: string, fingerprint: string) =>
    `${PREFIX}:remembered:${tenant}:${fingerprint}`,
  /** Stream: decisions and acts of administration. See audit.ts. */
  audit: () => `${PREFIX}:audit`,
  /** Hash: chain → `seq hash seal` of its last record. */
  auditHeads: () => `${PREFIX}:audit:heads`,
  /** Hash: chain → `seq hash ms` of its last record that retention dropped, and when. */
  auditAnchors: () => `${PREFIX}:audit:anchors`,
  /** Sorted set: runtimes by when a worker last offered them. */
  runtimes: () => `${PREFIX}:runtimes`,
  /** Sorted set: ids of workers by when they last spoke. */
  workers: () => `${PREFIX}:workers`,
} as const;

export const channels = {
  /** Results for the waiters of one API process. */
  replies: (instance: string) => `${PREFIX}:replies:${instance}`,
  /** Ids of running jobs that are to be cancelled; every worker listens. */
  cancels: () => `${PREFIX}:cancels`,
  /** Ids of jobs whose live output is asked for; every worker listens. */
  follows: () => `${PREFIX}:follows`,
} as const;
