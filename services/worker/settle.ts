/** Puts an end into Redis: artifacts first, then the result, which makes them reachable; masked, where it has to be. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { isRefusal } from '../../shared/queue/connection.ts';
import { keys } from '../../shared/queue/keys.ts';
import { type Settled, settleJob } from '../../shared/queue/settle.ts';
import { redactExecution } from './redact.ts';
import { type EndedJob, resultOf, usedBy } from './result.ts';

/** A run cannot be had again: while Redis refuses to write, its end is sent again so often and so long. */
const AGAIN_AFTER_MS = 250;
const TAKEN_WITHIN_MS = 60_000;

export async function settle(redis: Redis, ended: EndedJob): Promise<Settled> {
  const { id, record, start, outcome, finishedAtMs, spec } = ended;
  // Only where there is something to mask: without a wait, the settlement goes out before what its caller sends next.
  const execution =
    spec.redact.length > 0 ? await redactExecution(spec, ended.execution) : ended.execution;
  if (execution.artifacts.length > 0) {
    // Under a key of this start: a start that is fenced off must not touch the files of the one that counts.
    const key = keys.startArtifacts(id, start);
    await untilTaken(async () => {
      const transaction = redis.multi();
      for (const { path, content } of execution.artifacts) transaction.hset(key, path, content);
      transaction.pexpire(key, record.retainMs);
      for (const [error] of (await transaction.exec()) ?? []) if (error) throw error;
    });
  }
  const settlement = {
    id,
    start,
    result: JSON.stringify(resultOf({ ...ended, execution })),
    outcome,
    finishedAtMs,
    retainMs: record.retainMs,
    used: usedBy(ended),
  };
  return untilTaken(() => settleJob(redis, settlement));
}

async function untilTaken<T>(send: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + TAKEN_WITHIN_MS;
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (!isRefusal(error) || Date.now() >= deadline) throw error;
    }
    await sleep(AGAIN_AFTER_MS, undefined, { ref: false });
  }
}
