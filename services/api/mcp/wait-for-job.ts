/** Submits a job and waits for it, as `POST /v1/jobs` with `Prefer: wait` does, telling of progress meanwhile. */
import type { JobRequest } from '../../../shared/contract/request.ts';
import type { JobResult } from '../../../shared/contract/result.ts';
import { newJobId } from '../admit.ts';
import type { McpParts } from './parts.ts';
import { reportProgress } from './progress.ts';
import type { ToolCall } from './tool.ts';

export interface Asked {
  readonly request: JobRequest;
  readonly idempotencyKey: string | undefined;
  readonly waitMs: number;
}

/** The result, or the open job when the wait is over first. */
export async function submitAndWait(
  parts: McpParts,
  { request, idempotencyKey, waitMs }: Asked,
  { caller, signal, notify }: ToolCall,
): Promise<JobResult> {
  const { admit, jobs, results, instance, log } = parts;
  const id = newJobId();
  const waiting = waitMs > 0 ? results.expect(id, waitMs) : undefined;
  const replyTo = waiting ? instance : '';
  const settled = new AbortController();
  const accepting = admit.job({ id, caller, request, idempotencyKey, replyTo });
  const whenLeft = (): void => {
    waiting?.cancel();
    // With a key the caller finds its job again; without, nobody can ever ask for it.
    if (idempotencyKey !== undefined) return;
    accepting
      .then(() => jobs.cancel(caller, id))
      .catch((error: unknown) => log.debug({ err: error, job: id }, 'not cancelled'));
  };
  if (signal.aborted) whenLeft();
  else signal.addEventListener('abort', whenLeft, { once: true });
  try {
    const accepted = await accepting;
    if (notify !== undefined && waitMs > 0) {
      void reportProgress(parts.redis, { id: accepted.id, notify, signal: settled.signal });
    }
    if (accepted.isRepeated) return parse(await jobs.get(caller, accepted.id, waitMs));
    const json = await waiting?.result;
    return json === undefined ? parse(await jobs.get(caller, id, 0)) : parse({ json });
  } finally {
    settled.abort();
    waiting?.cancel();
    signal.removeEventListener('abort', whenLeft);
  }
}

export const parse = ({ json }: { json: string }): JobResult => JSON.parse(json) as JobResult;
