/** What the tools are made of: the same functions that the routes of HTTP call. */
import type { Redis } from 'ioredis';
import type { Tool } from '../../../shared/contract/policy.ts';
import type { PolicyCheck } from '../../../shared/contract/policy-check.ts';
import type { JobRequest } from '../../../shared/contract/request.ts';
import type { Log } from '../../../shared/log.ts';
import type { Admit } from '../admit.ts';
import type { Caller } from '../auth.ts';
import type { BatchResults } from '../batch-results.ts';
import type { UploadBatch } from '../batch-upload.ts';
import type { Batches } from '../batches.ts';
import type { Jobs } from '../jobs.ts';
import type { Call } from '../policy/call.ts';
import type { Results } from '../results.ts';
import type { Info } from '../routes/info.ts';

export interface McpParts {
  readonly redis: Redis;
  readonly admit: Admit;
  readonly upload: UploadBatch;
  readonly jobs: Jobs;
  readonly batches: Batches;
  readonly batchResults: BatchResults;
  readonly results: Results;
  /** This API process, as whoever settles a job knows it. */
  readonly instance: string;
  readonly info: () => Promise<Info>;
  /** Throws the refusal. What runs something is not asked about here, but where it is admitted. */
  readonly decide: (call: Call) => Promise<void>;
  /** What would be decided of a job; spends nothing. */
  readonly check: (asked: DryRun) => Promise<PolicyCheck>;
  /** Whether the policy keeps a tool from this caller's sight. */
  readonly isHidden: (tool: Tool, caller: Caller) => boolean;
  readonly version: string;
  readonly log: Log;
}

export interface DryRun {
  readonly tool: 'exec';
  readonly caller: Caller;
  readonly args: JobRequest;
  readonly nowMs: number;
}
