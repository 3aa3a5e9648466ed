/** The policy, what it counts, what waits for approval, and the audit of all of it: as one part of the API. */
import type { Redis } from 'ioredis';
import { parseSpec } from '../../shared/contract/spec.ts';
import type { Entrance } from '../../shared/queue/entrance.ts';
import { keys } from '../../shared/queue/keys.ts';
import { createSeal, createSigner } from '../../shared/queue/signature.ts';
import type { ApiParts } from './api-parts.ts';
import { createApprovals, type ResolveEdited } from './approvals/decide.ts';
import type { Expired } from './approvals/expire.ts';
import { createParking, type Notify } from './approvals/park.ts';
import { type Audit, createAudit } from './audit.ts';
import type { Blobs } from './blobs.ts';
import type { Notices } from './callbacks/notices.ts';
import type { Callbacks } from './callbacks/start.ts';
import { createPermission, newJob } from './permission.ts';
import { defaultPolicy } from './policy/default-policy.ts';
import { createPolicy, type ResolveWith } from './policy/engine.ts';
import { mayApprove, redactionsOf } from './policy/policy.ts';
import { type Rules, resolve } from './policy/resolve.ts';
import { createPolicyStore, type PolicyStore } from './policy/store.ts';
import { loadUsable } from './policy/usable.ts';
import { createRuntimeOffer, type RuntimeOffer } from './runtimes.ts';

export interface Governed {
  readonly redis: Redis;
  readonly entrance: Entrance;
  readonly blobs: Blobs;
  readonly callbacks: Callbacks;
  readonly rules: Rules;
}

export async function startGovernance({ settings, lifecycle, log }: ApiParts, made: Governed) {
  const { redis, entrance, blobs, callbacks, rules } = made;
  const { policyFile, signingKeys } = settings.trust;
  const resolveWith: ResolveWith = (request) => resolve(request, rules);
  // Its rules are those of the policy in force, so it comes second.
  let audit: Audit | undefined;
  const store = createPolicyStore({
    redis,
    file: policyFile,
    load: (text) => loadUsable(text, resolveWith),
    fallback: defaultPolicy(),
    onFile: ({ policy: { revision }, by }, replaced) =>
      audit?.act({ actor: null, act: 'policy.file', subject: revision, detail: { by, replaced } }),
    log,
  });
  await store.start();
  lifecycle.own('policy', store, () => store.stop());
  audit = await startAudit({ settings, lifecycle, log }, redis, store);
  const onAct = audit.act;
  const onExpired = ({ approval, ...detail }: Expired): void =>
    onAct({ actor: null, act: 'approval.expire', subject: approval, detail });

  const policy = createPolicy({
    redis,
    inForce: () => store.current.policy,
    onDecisions: audit.decisions,
    log,
  });
  const sign = createSigner(signingKeys);
  const acceptCallback = callbacks.accept;
  const parking = createParking({
    redis,
    maxExpiresInMs: settings.limits.expiresInMs.ceiling,
    notify: notifyBy(store, callbacks.notices),
    log,
  });
  const runtimes = createRuntimeOffer({ redis, default: rules.runtimes.default });
  const permission = createPermission({
    policy,
    parking,
    sign,
    blobs,
    runtimes,
    acceptCallback,
    rules,
  });
  const approvals = createApprovals({
    redis,
    entrance,
    resolveEdited: resolveEditedBy({ redis, blobs, runtimes, rules }),
    sign,
    mayApprove: (caller, approvers) => mayApprove(store.current.policy, approvers, caller),
    onAct,
    onExpired,
    log,
  });
  const seal = createSeal(signingKeys);
  return { policy, store, resolveWith, permission, parking, approvals, onAct, onExpired, seal };
}

async function startAudit(
  { settings, lifecycle, log }: Pick<ApiParts, 'settings' | 'lifecycle' | 'log'>,
  redis: Redis,
  store: PolicyStore,
): Promise<Audit> {
  const keysOfChain = settings.trust.signingKeys;
  const rules = () => {
    const { policy } = store.current;
    return { ...policy.audit, redactions: redactionsOf(policy) };
  };
  const audit = createAudit({ redis, keys: keysOfChain, rules, log });
  await audit.start();
  lifecycle.own('audit', audit, () => audit.stop());
  return audit;
}

const notifyBy =
  (store: PolicyStore, notices: Notices): Notify =>
  async ({ id, type, notifier, tenant, data }) => {
    const target = store.current.policy.notifiers[notifier];
    if (target === undefined) return;
    await notices.send({ type, subject: id, tenant, url: target.url, data });
  };

/** An approver stands above the rules, not above the operator's ceilings; what was to be masked still is. */
const resolveEditedBy =
  ({
    redis,
    blobs,
    runtimes,
    rules,
  }: Pick<Governed, 'redis' | 'blobs' | 'rules'> & { runtimes: RuntimeOffer }): ResolveEdited =>
  async ({ id, approval, job, request }) => {
    const resolved = resolve(request, rules);
    const before = parseSpec((await redis.hget(keys.job(id), 'spec')) ?? '');
    const spec = { ...resolved.spec, redact: before?.redact ?? [] };
    const edited = newJob({ jobId: id, args: request }, job.lane, { ...resolved, spec });
    await runtimes.require(spec.runtime);
    const lastStartInMs = job.expiresAt - Date.now() + edited.budgetMs;
    await blobs.requireForJob({ caller: { tenant: approval.tenant }, spec, lastStartInMs });
    return edited;
  };
