/**
 * What `exec` answers, whatever became of the call: one flat object, a job's result or its handle, with `error` beside it
 * when the call was refused before there was a job. Clients check every answer against this one schema, also errors.
 */
import { z } from 'zod';
import { policyVerdict } from '../../../shared/contract/policy.ts';
import { type JobResult, jobResult, NO_OUTPUT, NO_USAGE } from '../../../shared/contract/result.ts';
import type { AppError } from '../../../shared/errors.ts';

export const refusal = z.strictObject({
  code: z.string().describe('One of docs/errors.md.'),
  detail: z.string(),
  field: z.string().nullable(),
  retryable: z.boolean().describe('Whether the same call may succeed later.'),
  retryAfterMs: z.int().nonnegative().nullable(),
  remedy: z.string().describe('What to do.'),
  policy: policyVerdict.nullable().describe('What the policy said, where it was the policy.'),
});

export const execOutput = jobResult.extend({
  error: refusal
    .nullable()
    .describe('Why the call was refused: no job was made. Null for every job.'),
});

export const refusalOf = (error: AppError): z.infer<typeof refusal> => ({
  code: error.code,
  detail: error.code === 'INTERNAL' ? error.row.message : error.message,
  field: error.field ?? null,
  retryable: error.row.retryable,
  retryAfterMs: retryAfterMsOf(error),
  remedy: error.row.remedy,
  policy: error.policy ?? null,
});

export const retryAfterMsOf = ({ policy, retryAfterSeconds }: AppError): number | null =>
  policy?.retryAfterMs ?? (retryAfterSeconds === undefined ? null : retryAfterSeconds * 1000);

export const withoutError = (result: JobResult): z.infer<typeof execOutput> => ({
  ...result,
  error: null,
});

/** A call that was refused, as a job that never was: denied, by the policy's rule or by the code of the refusal. */
export function refusedResult(error: AppError): z.infer<typeof execOutput> {
  const { policy, row } = error;
  const refused = refusalOf(error);
  const fault = policy !== undefined ? 'policy' : row.status >= 500 ? 'platform' : 'caller';
  const now = new Date().toISOString();
  return {
    id: '',
    state: 'done',
    outcome: {
      kind: 'denied',
      rule: policy === undefined ? error.code : (policy.rule ?? 'default'),
      reason: policy?.reason ?? refused.detail,
    },
    fault,
    retryable: row.retryable,
    ran: 'no',
    exitCode: null,
    timedOut: false,
    ...NO_OUTPUT,
    artifacts: [],
    artifactsSkipped: [],
    usage: NO_USAGE,
    timing: {
      acceptedAt: now,
      startedAt: null,
      finishedAt: now,
      queuedMs: 0,
      setupMs: 0,
      runMs: 0,
    },
    attempt: 0,
    worker: null,
    image: '',
    runtime: '',
    labels: {},
    error: refused,
  };
}
