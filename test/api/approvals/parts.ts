/** Approvals over a real Redis, with people and jobs to decide of. */
import type { Redis } from 'ioredis';
import {
  type ApprovalParts,
  type Approvals,
  createApprovals,
} from '../../../services/api/approvals/decide.ts';
import { createParking, type Notice, type Parking } from '../../../services/api/approvals/park.ts';
import type { AdministrativeAct, Caller } from '../../../services/api/auth.ts';
import type { ApprovalDemand } from '../../../services/api/policy/judgement.ts';
import { type JobRequest, jobRequest } from '../../../shared/contract/request.ts';
import { type JobSpec, SPEC_VERSION } from '../../../shared/contract/spec.ts';
import { type Admission, admitJob } from '../../../shared/queue/admit.ts';
import type { NewApproval } from '../../../shared/queue/approval-record.ts';
import type { Entry } from '../../../shared/queue/fair-share.ts';
import { createSigner } from '../../../shared/queue/signature.ts';
import { admission } from '../../shared/queue/job.ts';
import { silent } from '../../shared/queue/redis.ts';
import { callerOfTenant } from '../caller.ts';

export const SIGNING_KEYS = [{ id: 'k1', secret: 's'.repeat(32) }];
const DAY_MS = 24 * 3_600_000;

export const person = (name: string, over: Partial<Caller> = {}): Caller =>
  callerOfTenant('default', {
    name: `user:${name}`,
    grant: `key-of-${name}`,
    scopes: new Set(['policy:approve']),
    ...over,
  });

export const specOf = (request: JobRequest): JobSpec => ({
  version: SPEC_VERSION,
  image: request.image ?? 'base',
  runtime: 'runc',
  hasSteps: false,
  steps: [{ name: 'main', argv: request.command ?? [], stdin: null, timeoutMs: 1000 }],
  env: request.env ?? {},
  cwd: null,
  files: [],
  collect: [],
  timeoutMs: request.timeoutMs ?? 1000,
  limits: {
    cpuMs: 1000,
    cpus: 1,
    memoryMb: request.limits?.memoryMb ?? 256,
    processes: 1,
    workspaceMb: 1,
    openFiles: 16,
    stdoutBytes: 1,
    stderrBytes: 1,
    artifactBytes: 1,
  },
  parseJson: false,
  truncate: 'both',
  onLost: 'retry',
  group: null,
  redact: [{ pattern: 'hush-[a-z]+', replacement: '***' }],
});

export const aDemand = (over: Partial<ApprovalDemand> = {}): ApprovalDemand => ({
  rule: 'big-jobs',
  reason: 'too big',
  approvers: [],
  quorum: 1,
  expiresInMs: 60_000,
  onExpire: 'deny',
  rememberMs: 0,
  mayEdit: [],
  notify: [],
  ...over,
});

export interface Office {
  readonly approvals: Approvals;
  readonly parking: Parking;
  readonly acts: AdministrativeAct[];
  readonly notices: Notice[];
  /** What was released into the queue. */
  readonly entered: Entry[];
  readonly parts: ApprovalParts;
  /** Asks for an approval and admits the job with it. */
  ask(asked?: Asked): Promise<{ job: string; id: string; approval: NewApproval }>;
}

export interface Asked {
  readonly demand?: Partial<ApprovalDemand>;
  readonly caller?: Caller;
  readonly request?: object;
  readonly job?: Partial<Admission>;
  readonly revision?: string;
}

export const demanded = (asked: Asked = {}) => {
  const request = jobRequest.parse(asked.request ?? { command: ['true'] });
  const caller = asked.caller ?? person('asker');
  const job = admission({
    tenant: caller.tenant,
    spec: JSON.stringify(specOf(request)),
    ...asked.job,
  });
  const revision = asked.revision ?? 'r1';
  return { demand: aDemand(asked.demand), job, batch: null, caller, request, revision };
};

export function openOffice(redis: Redis, notify?: (notice: Notice) => Promise<void>): Office {
  const acts: AdministrativeAct[] = [];
  const notices: Notice[] = [];
  const entered: Entry[] = [];
  const parts: ApprovalParts = {
    redis,
    entrance: {
      release: (entries) => void entered.push(...entries),
      add: async () => {},
      entered: () => {},
      start: () => {},
      stop: async () => {},
    },
    resolveEdited: async ({ id, request, job }) => ({
      ...admission({ id, spec: JSON.stringify(specOf(request)), labels: request.labels ?? {} }),
      retainMs: job.retainMs,
    }),
    sign: createSigner(SIGNING_KEYS),
    mayApprove: (caller, approvers) => approvers.includes(caller.name),
    onAct: (act) => void acts.push(act),
    log: silent,
  };
  const parking = createParking({
    redis,
    maxExpiresInMs: DAY_MS,
    notify: notify ?? ((notice) => void notices.push(notice)),
    log: silent,
  });
  return {
    approvals: createApprovals(parts),
    parking,
    acts,
    notices,
    entered,
    parts,
    async ask(asked) {
      const call = demanded(asked);
      const approval = await parking.demand(call);
      if (approval === null) throw new Error('an approval is remembered');
      const reply = await admitJob(redis, { ...call.job, approval });
      if (reply.kind !== 'awaiting_approval') throw new Error(`not parked: ${reply.kind}`);
      return { job: call.job.id, id: approval.id, approval };
    },
  };
}
