/** Follows a job over its event stream to its result, through as many connections as it takes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { OutputEvent, StateEvent } from '../../shared/contract/event.ts';
import type { JobResult } from '../../shared/contract/result.ts';
import { type Connection, openEvents, ServerError } from './client.ts';
import type { ReceivedEvent } from './sse.ts';

const PAUSE_FIRST_MS = 100;
const PAUSE_MAX_MS = 5_000;
/** A server that could not be reached for so long is given up. */
const GIVE_UP_MS = 60_000;

/** What is done with events as they come; the next one is read when it has been done. */
export interface EventSink {
  state(event: StateEvent): void;
  output(stream: 'stdout' | 'stderr', bytes: Buffer): Promise<void>;
}

export async function followJob(
  server: Connection,
  id: string,
  { sink, signal }: { sink: EventSink; signal: AbortSignal },
): Promise<JobResult> {
  let lastId: string | undefined;
  let pauseMs = PAUSE_FIRST_MS;
  let failingSinceMs: number | undefined;
  for (;;) {
    try {
      for await (const event of openEvents(server, id, { lastId, signal })) {
        if (event.event === 'result') return JSON.parse(event.data) as JobResult;
        await take(event, sink);
        // Only now: what was not taken whole is asked for again.
        lastId = event.id;
        pauseMs = PAUSE_FIRST_MS;
        failingSinceMs = undefined;
      }
    } catch (error) {
      const mayReturn = error instanceof ServerError && error.isRetryable;
      failingSinceMs ??= Date.now();
      const isGivenUp = Date.now() - failingSinceMs > GIVE_UP_MS;
      if (!mayReturn || signal.aborted || isGivenUp) throw error;
    }
    await sleep(pauseMs, undefined, { signal });
    pauseMs = Math.min(pauseMs * 2, PAUSE_MAX_MS);
  }
}

async function take({ event, data }: ReceivedEvent, sink: EventSink): Promise<void> {
  if (event === 'state') sink.state(JSON.parse(data) as StateEvent);
  if (event !== 'output') return;
  const output = JSON.parse(data) as OutputEvent;
  const bytes =
    'text' in output ? Buffer.from(output.text, 'utf8') : Buffer.from(output.base64, 'base64');
  await sink.output(output.stream, bytes);
}
