/** Puts an end into Redis: artifacts first, then the result, which makes them reachable. */
import type { Redis } from 'ioredis';
import { keys } from '../../shared/queue/keys.ts';
import { type Settled, settleJob } from '../../shared/queue/settle.ts';
import { type EndedJob, resultOf } from './result.ts';

export async function settle(redis: Redis, ended: EndedJob): Promise<Settled> {
  const { id, record, start, execution, outcome, finishedAtMs } = ended;
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
    result: JSON.stringify(resultOf(ended)),
    outcome,
    finishedAtMs,
    retainMs: record.retainMs,
  });
}
