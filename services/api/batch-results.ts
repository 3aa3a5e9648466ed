/**
 * The results of a batch in the order in which its jobs ended, as lines. Whoever reads them pulls them: a few are in
 * memory at a time, and nothing is read for a client that has stopped. Each line has a cursor that goes on after it.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { AppError } from '../../shared/errors.ts';
import { isOver } from '../../shared/queue/batch-record.ts';
import { keys } from '../../shared/queue/keys.ts';
import type { Owner } from './auth.ts';
import { batchJobId } from './batch-job.ts';
import { type Batches, LOOK_AGAIN_MS } from './batches.ts';

const AT_ONCE = 200;
const BYTES_AT_ONCE = 1024 * 1024;

export interface ResultsQuery {
  readonly cursor: string | undefined;
  /** Go on until the batch is over. */
  readonly follow: boolean;
  /** Aborted when nobody reads any more. */
  readonly signal: AbortSignal;
}

/** A job of a batch that ended, in the order of ends. */
export interface EndedPlace {
  readonly id: string;
  readonly index: number;
  readonly key: string | null;
  /** Goes on after it. */
  readonly cursor: string;
}

export interface BatchResults {
  /** Refuses before the first line; each text is one or more whole lines. */
  lines(caller: Owner, id: string, query: ResultsQuery): Promise<AsyncGenerator<string>>;
  /** Those that ended after a place, by pieces; with `follow` until the batch is over. */
  ended(caller: Owner, id: string, query: ResultsQuery): Promise<AsyncGenerator<EndedPlace[]>>;
}

export function createBatchResults(options: {
  redis: Redis;
  batches: Batches;
  closing: AbortSignal;
}): BatchResults {
  const { redis, batches, closing } = options;

  const ended: BatchResults['ended'] = async (caller, id, { cursor, follow, signal }) => {
    await batches.own(caller, id);
    const from = cursor === undefined ? 0 : parseCursor(id, cursor);
    return (async function* () {
      for (let at = from; !signal.aborted; ) {
        // Broken off, not ended: whoever follows must not take it for the end of the batch.
        if (closing.aborted) throw new AppError('SHUTTING_DOWN');
        // Before the look at the list: what ends in between is then not missed.
        const isLast = !follow || isOver(await batches.own(caller, id));
        const places = await redis.lrange(keys.batchDone(id), at, at + AT_ONCE - 1);
        if (places.length > 0) {
          yield places.map((place, offset) => placeOf(id, place, at + offset + 1));
          at += places.length;
        } else if (isLast) {
          return;
        } else {
          await sleep(LOOK_AGAIN_MS);
        }
      }
    })();
  };

  return {
    ended,
    async lines(caller, id, query) {
      const pieces = await ended(caller, id, query);
      return (async function* () {
        for await (const piece of pieces) {
          for await (const group of bySize(redis, piece)) yield await linesOf(redis, group);
        }
      })();
    },
  };
}

function placeOf(batch: string, place: string, next: number): EndedPlace {
  const at = place.indexOf(' ');
  const index = Number(at < 0 ? place : place.slice(0, at));
  const key = at < 0 ? null : place.slice(at + 1);
  return { id: batchJobId(batch, index, key), index, key, cursor: cursorOf(batch, next) };
}

/** Results may be large: no more of them at once than a bounded number of bytes. */
async function* bySize(redis: Redis, places: readonly EndedPlace[]): AsyncGenerator<EndedPlace[]> {
  const pipeline = redis.pipeline();
  for (const { id } of places) pipeline.strlen(keys.result(id));
  const sizes = (await pipeline.exec()) ?? [];
  let group: EndedPlace[] = [];
  let bytes = 0;
  for (const [at, place] of places.entries()) {
    const size = Number(sizes[at]?.[1] ?? 0);
    if (group.length > 0 && bytes + size > BYTES_AT_ONCE) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(place);
    bytes += size;
  }
  if (group.length > 0) yield group;
}

async function linesOf(redis: Redis, places: readonly EndedPlace[]): Promise<string> {
  const results = await redis.mget(places.map(({ id }) => keys.result(id)));
  return places
    .map(({ id, index, key, cursor }, at) => {
      const head = `{"index":${index},"key":${JSON.stringify(key)},"cursor":"${cursor}"`;
      // Its own retention is over, the batch's not yet.
      const body = results[at] ?? JSON.stringify({ id, state: 'done', outcome: null });
      return `${head},${body.slice(1)}\n`;
    })
    .join('');
}

const CURSOR_DIGITS = 10;

const cursorOf = (batch: string, at: number): string =>
  `${at}.${createHash('sha256').update(`${batch} ${at}`).digest('hex').slice(0, CURSOR_DIGITS)}`;

export function parseCursor(batch: string, cursor: string, field = 'cursor'): number {
  const [, digits] = cursor.match(/^(\d{1,15})\.[0-9a-f]+$/) ?? [];
  if (digits === undefined || cursorOf(batch, Number(digits)) !== cursor) {
    throw new AppError('REQUEST_INVALID', {
      field,
      detail: `${field}: expected the cursor of a line of these results`,
    });
  }
  return Number(digits);
}
