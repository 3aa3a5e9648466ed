/**
 * The results of a batch, from where the output ends to the end of the batch, over as many connections as it takes. Each
 * line is written before the next piece is read; its cursor counts once it is written.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type BatchView, batchView } from '../../../shared/contract/batch.ts';
import { type Connection, ServerError } from '../client.ts';
import { piecesOf } from './body.ts';
import { linesOf, wholeLines } from './ndjson.ts';
import type { Output } from './output.ts';
import type { Patience } from './patience.ts';
import { isTransient, NoAnswer, parseAnswer, request, requestJson } from './request.ts';
import { parseResultLine } from './result-line.ts';
import { totalOf } from './tally.ts';

export interface Following {
  readonly id: string;
  readonly output: Output;
  readonly patience: Patience;
  readonly signal: AbortSignal;
  /** After each write, and when the number of jobs is known. */
  onProgress(total: number | undefined): void;
}

/** A quiet connection may be a dead one: it is made anew, which costs little. */
const QUIET_MS = 90_000;
/** Between connections that ended without a result, though the batch is not over. */
const PAUSE_MS = 1_000;
/** How often the end of a batch that is over may bring nothing until its missing results are given up. */
const MAX_EMPTY_ENDS = 3;

export const batchPath = (id: string): string => `/v1/batches/${encodeURIComponent(id)}`;

/** All jobs have ended and none can come. */
export const isOver = ({ state, counts }: BatchView): boolean =>
  state !== 'open' && counts.done >= counts.total;

export async function viewOf(
  server: Connection,
  id: string,
  { signal, waitSeconds = 0 }: { signal: AbortSignal; waitSeconds?: number },
): Promise<BatchView> {
  const query = waitSeconds === 0 ? '' : `?wait=${waitSeconds}`;
  return parseAnswer(
    server,
    batchView,
    await requestJson(server, batchPath(id) + query, { method: 'GET', signal, waitSeconds }),
  );
}

/** Repeats a call until it is answered, as long as the patience lasts. */
export async function insisting<T>(
  { patience, signal }: Pick<Following, 'patience' | 'signal'>,
  call: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      const answer = await call();
      patience.heard();
      return answer;
    } catch (error) {
      if (!isTransient(error)) throw error;
      await patience.pause(error, signal);
    }
  }
}

/** Follows until every job of the batch has its line; returns how many results are no longer to be had. */
export async function followResults(server: Connection, following: Following): Promise<number> {
  const { id, output, signal, onProgress } = following;
  for (let emptyEnds = 0; ; ) {
    const view = await insisting(following, () => viewOf(server, id, { signal }));
    onProgress(view.counts.total);
    const before = totalOf(output.tally);
    const missing = view.counts.total - before;
    if (isOver(view) && missing <= 0) return 0;
    if (isOver(view) && emptyEnds >= MAX_EMPTY_ENDS) return missing;
    const broken = await insisting(following, () => readOnce(server, following, 'follow'));
    const isEmpty = totalOf(output.tally) === before;
    emptyEnds = isEmpty && broken === undefined ? emptyEnds + 1 : 0;
    if (isEmpty) await pause(signal);
  }
}

/** The results that there are now. */
export const readResults = (server: Connection, following: Following): Promise<void> =>
  insisting(following, async () => {
    const broken = await readOnce(server, following, 'so far');
    if (broken !== undefined) throw broken;
  });

const pause = (signal: AbortSignal): Promise<unknown> =>
  sleep(PAUSE_MS, undefined, { signal }).catch(() => signal.throwIfAborted());

/**
 * One connection, to its end; a line that was torn off is not written. Throws when nobody answers; returns the fault when
 * the answer breaks off.
 */
async function readOnce(
  server: Connection,
  { id, output, patience, signal, onProgress }: Following,
  mode: 'follow' | 'so far',
): Promise<NoAnswer | undefined> {
  const quiet = new AbortController();
  const timer = setTimeout(() => quiet.abort(), QUIET_MS);
  const query = new URLSearchParams({
    ...(output.cursor === undefined ? {} : { cursor: output.cursor }),
    ...(mode === 'follow' ? { follow: 'true' } : {}),
  });
  const either = AbortSignal.any([signal, quiet.signal]);
  let isAnswered = false;
  try {
    const response = await request(server, `${batchPath(id)}/results?${query}`, {
      method: 'GET',
      signal: either,
    });
    isAnswered = true;
    for await (const block of wholeLines(whileHeard(piecesOf(response, either), timer))) {
      const lines = linesOf(block);
      const results = lines.map((line) => parseResultLine(line, server.url));
      if (results.length === 0) continue;
      await output.write(`${lines.join('\n')}\n`);
      for (const { countedAs, cursor } of results) {
        output.tally[countedAs] += 1;
        output.cursor = cursor;
      }
      patience.heard();
      onProgress(undefined);
    }
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ServerError && !(isAnswered && error instanceof NoAnswer)) throw error;
    const fault = new NoAnswer(server.url, quiet.signal.aborted ? 'it was quiet' : error);
    if (isAnswered) return fault;
    throw fault;
  } finally {
    clearTimeout(timer);
  }
}

/** The pieces as they come; the time while they are dealt with does not count as silence. */
async function* whileHeard(
  pieces: AsyncIterable<Uint8Array>,
  timer: NodeJS.Timeout,
): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    timer.refresh();
    yield piece;
    timer.refresh();
  }
}
