/** What the policy is asked about: who calls which tool with what. */
import type { Tool } from '../../../shared/contract/policy.ts';
import type { JobRequest } from '../../../shared/contract/request.ts';
import type { Caller } from '../auth.ts';

export interface Call {
  readonly tool: Tool;
  readonly caller: Caller;
  /** As the caller sent it, a batch's defaults joined. */
  readonly args: Readonly<Record<string, unknown>>;
  readonly nowMs: number;
}

/** A call that runs something: of a batch, one for each job. */
export interface RunCall extends Call {
  readonly tool: 'exec' | 'exec_batch';
  readonly args: JobRequest;
  /** The id that the job will have: what its reservations are held under. */
  readonly jobId: string;
  /** The batch that it belongs to, and its place there. */
  readonly batch?: { readonly id: string; readonly index: number };
}
