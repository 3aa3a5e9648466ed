/** An approval as people see it. */
import type { ApprovalSummary, ApprovalView } from '../../../shared/contract/approval.ts';
import type { ApprovalRecord } from '../../../shared/queue/approval-record.ts';

const iso = (ms: number): string => new Date(ms).toISOString();

export const summaryOf = (id: string, record: ApprovalRecord): ApprovalSummary => ({
  id,
  state: record.state,
  job: record.job,
  batch: record.batch ?? null,
  tenant: record.tenant,
  caller: { grant: record.grant, name: record.name },
  rule: record.rule,
  reason: record.reason,
  approvers: record.approvers,
  quorum: record.quorum,
  mayEdit: record.mayEdit,
  createdAt: iso(record.createdAt),
  expiresAt: iso(record.expiresAt),
  decidedAt: record.decidedAt === undefined ? null : iso(record.decidedAt),
  onExpire: record.onExpire,
  rememberMs: record.rememberMs,
  fingerprint: record.fingerprint,
  revision: record.revision,
  decisions: record.decisions,
});

export const viewOf = (id: string, record: ApprovalRecord): ApprovalView => ({
  ...summaryOf(id, record),
  request: record.shown,
});
