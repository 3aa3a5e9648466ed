/** The events of one batch: each job that ended, the counts as they change, and the batch as it was in the end. */

import type { Redis } from 'ioredis';
import type { BatchEvent, BatchJobEvent } from '../../shared/contract/event.ts';
import { readRecords } from '../../shared/queue/job-record.ts';
import type { Owner } from './auth.ts';
import type { BatchResults, EndedPlace } from './batch-results.ts';
import type { Batches } from './batches.ts';
import type { ServerEvent } from './sse.ts';

export interface FollowBatch {
  readonly redis: Redis;
  readonly batches: Batches;
  readonly results: BatchResults;
  readonly caller: Owner;
  readonly id: string;
  /** The cursor of the last event that was received. */
  readonly from: string | undefined;
  readonly signal: AbortSignal;
}

export async function* batchEvents(follow: FollowBatch): AsyncGenerator<ServerEvent> {
  const { redis, batches, results, caller, id, signal } = follow;
  let cursor = follow.from;
  const counts = async (): Promise<ServerEvent> => {
    const event: BatchEvent = (await batches.own(caller, id)).view;
    return { event: 'batch', id: cursor ?? '', data: JSON.stringify(event) };
  };
  yield await counts();
  for await (const places of await results.ended(caller, id, { cursor, follow: true, signal })) {
    for (const { event, cursor: next } of await eventsOf(redis, places)) {
      cursor = next;
      yield { event: 'job', id: next, data: JSON.stringify(event) };
    }
    yield await counts();
  }
}

async function eventsOf(
  redis: Redis,
  places: readonly EndedPlace[],
): Promise<{ event: BatchJobEvent; cursor: string }[]> {
  const records = await readRecords(
    redis,
    places.map(({ id }) => id),
  );
  return places.map(({ id, index, key, cursor }, at) => ({
    event: { index, key, id, outcome: records[at]?.outcome ?? null },
    cursor,
  }));
}
