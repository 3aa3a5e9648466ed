/** Puts an end into Redis: artifacts first, then the result, which makes them reachable; masked, where it has to be. */
import type { Redis } from 'ioredis';
import { keys } from '../../shared/queue/keys.ts';
import { type Settled, settleJob } from '../../shared/queue/settle.ts';
import { redactExecution } from './redact.ts';
import { type EndedJob, resultOf, usedBy } from './result.ts';

export async function settle(redis: Redis, ended: EndedJob): Promise<Settled> {
  const { id, record, start, outcome, finishedAtMs, spec } = ended;
  // Only where there is something to mask: without a wait, the settlement goes out before what its caller sends next.
  const execution =
    spec.redact.length > 0 ? await redactExecution(spec, ended.execution) : ended.execution;
  if (execution.artifacts.length > 0) {
    // Under a key of this start: a start that is fenced off must not touch the files of the one that counts.
    const key = keys.startArtifacts(id, start);
    const transaction = redis.multi();
    for (const { path, content } of execution.artifacts) transaction.hset(key, path, content);
    transaction.pexpire(key, record.retainMs);
    for (const [error] of (await transaction.exec()) ?? []) if (error) throw error;
  }
  return settleJob(redis, {
    id,
    start,
    result: JSON.stringify(resultOf({ ...ended, execution })),
    outcome,
    finishedAtMs,
    retainMs: record.retainMs,
    used: usedBy(ended),
  });
}
