/**
 * The events of one job: its states, its output while it runs, and its result. What was captured so far and what comes is
 * read from the list that the job's worker fills while somebody follows; whatever of it did not come that way is served
 * from the stored result once the job is done. So nothing depends on the list, and a follower that comes back names the
 * place it had reached.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { type EventPlace, encodeEventId, type StateEvent } from '../../../shared/contract/event.ts';
import type { JobResult } from '../../../shared/contract/result.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import { isStoreFailure } from '../../../shared/queue/connection.ts';
import { readRecord } from '../../../shared/queue/job-record.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { followJob, readLive } from '../../../shared/queue/live.ts';
import type { Owner } from '../auth.ts';
import type { ServerEvent } from '../sse.ts';
import { advance, startOf, storedPieces } from './output.ts';

/** How often a followed job is looked at, and how often one that has been quiet for long. */
const LOOK_MS = 50;
const LOOK_QUIET_MS = 200;
const QUIET_AFTER_MS = 3_000;
/** The worker may have missed that somebody follows: it is told again while nothing comes. */
const ASK_AGAIN_MS = 1_000;

export interface Follow {
  readonly redis: Redis;
  readonly id: string;
  /** Where the follower left off; undefined where it begins. */
  readonly from: EventPlace | undefined;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** Whoever is not the owner sees nothing, as if there were no such job. */
export async function requireOwnJob(redis: Redis, caller: Owner, id: string): Promise<void> {
  const record = await readRecord(redis, id);
  if (record === undefined || record.tenant !== caller.tenant) throw new AppError('NOT_FOUND');
}

/** Ends with the result; without one when the signal says so, when Redis fails, and when the result is gone. */
export async function* jobEvents(follow: Follow): AsyncGenerator<ServerEvent> {
  try {
    const place = yield* liveEvents(follow);
    if (place !== undefined) yield* storedEvents(follow, place);
  } catch (error) {
    if (follow.signal.aborted) return;
    if (!isStoreFailure(error)) throw error;
    // The follower comes back with the place that it reached.
    follow.log.warn({ err: error, job: follow.id }, 'an event stream ends early');
  }
}

/** Returns the place that was reached when the job is done; undefined when it is not, or not any more. */
async function* liveEvents(follow: Follow): AsyncGenerator<ServerEvent, EventPlace | undefined> {
  const { redis, id, signal } = follow;
  const asker = createAsker(follow);
  let place = follow.from;
  let told = '';
  let start = 0;
  let index = 0;
  let lastNewsMs = Date.now();
  while (!signal.aborted) {
    const seen = await readLive(redis, { id, start, index });
    if (seen === undefined) return undefined;
    if (seen.state === 'done') return place ?? startOf(seen.attempt);
    // What was read belongs to a start that is over: its list is not looked at any more.
    const isNewStart = seen.start !== start;
    const pieces = isNewStart ? [] : seen.pieces;
    if (isNewStart) index = 0;
    start = seen.start;
    if (place?.attempt !== seen.attempt) place = startOf(seen.attempt);
    const state = stateEvent({ id, state: seen.state, attempt: seen.attempt }, place);
    const isNews = state.data !== told || pieces.length > 0;
    if (state.data !== told) yield state;
    told = state.data;
    index += pieces.length;
    for (const piece of pieces) {
      const next = advance(place, piece);
      if (next === undefined) continue;
      place = next.place;
      yield next.event;
    }
    if (isNews) lastNewsMs = Date.now();
    await asker.ask({ isHeard: index > 0 });
    if (isNewStart || pieces.length > 0) continue;
    const isQuiet = Date.now() - lastNewsMs > QUIET_AFTER_MS;
    await sleep(isQuiet ? LOOK_QUIET_MS : LOOK_MS, undefined, { signal });
  }
  return undefined;
}

/** What was not sent yet, then the result as it is stored. */
async function* storedEvents(follow: Follow, reached: EventPlace): AsyncGenerator<ServerEvent> {
  const { redis, id } = follow;
  const json = await redis.get(keys.result(id));
  if (json === null) return;
  const result = JSON.parse(json) as JobResult;
  const { attempt } = result;
  let place = reached.attempt === attempt ? reached : startOf(attempt);
  yield stateEvent({ id, state: 'done', attempt }, place);
  for (const piece of storedPieces(result, place.step)) {
    const next = advance(place, piece);
    if (next === undefined) continue;
    place = next.place;
    yield next.event;
  }
  yield { event: 'result', id: encodeEventId(place), data: json };
}

const stateEvent = (data: StateEvent, place: EventPlace): ServerEvent => ({
  event: 'state',
  id: encodeEventId(place),
  data: JSON.stringify(data),
});

/** Says to the workers that somebody follows: first of all, and again while nothing was heard. */
function createAsker({ redis, id, log }: Follow): {
  ask(heard: { isHeard: boolean }): Promise<void>;
} {
  let askedAtMs = 0;
  return {
    async ask({ isHeard }) {
      if (isHeard || Date.now() - askedAtMs < ASK_AGAIN_MS) return;
      askedAtMs = Date.now();
      // A Redis that is full refuses the mark, and still tells of states and results.
      await followJob(redis, id).catch((error: unknown) =>
        log.debug({ err: error, job: id }, 'no live output'),
      );
    },
  };
}
