/**
 * Server-sent events: an async iterable becomes the body of an answer. It is pulled: the next event is made when the
 * client took the one before, so that a client that stops reading costs one event. The streams end when the client goes
 * and when the server stops.
 */
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';

export interface ServerEvent {
  readonly event: string;
  readonly id: string;
  /** Of several lines at most by \n; there is no way to send a \r. */
  readonly data: string;
}

/** So often something is sent, whatever happens: what lies between must not take the connection for dead. */
const HEARTBEAT_MS = 15_000;
/** A client that takes nothing for so long, heartbeats included, is gone. */
const STALLED_MS = 60_000;
/** After how long a client that lost its connection comes back. */
const RETRY_MS = 1_000;

const HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
  // Kept alive past its stream, it would hold up the stop of the server.
  Connection: 'close',
} as const;

export interface EventStreams {
  /** Answers with the events. `signal` tells their source that nobody listens any more. */
  send(
    reply: FastifyReply,
    source: (signal: AbortSignal) => AsyncIterable<ServerEvent>,
  ): FastifyReply;
  count(): number;
  /** Ends every stream, and each that comes later: the clients come back elsewhere. */
  release(): void;
}

export function createEventStreams(): EventStreams {
  const open = new Set<AbortController>();
  let isReleased = false;
  return {
    send(reply, source) {
      const leaving = new AbortController();
      open.add(leaving);
      reply.raw.once('close', () => {
        open.delete(leaving);
        leaving.abort();
      });
      reply.raw.setTimeout(STALLED_MS, () => reply.raw.destroy());
      if (isReleased) leaving.abort();
      const body = Readable.from(framesOf(source(leaving.signal)), { objectMode: false });
      return reply.headers(HEADERS).send(body);
    },
    count: () => open.size,
    release() {
      isReleased = true;
      for (const leaving of open) leaving.abort();
    },
  };
}

async function* framesOf(events: AsyncIterable<ServerEvent>): AsyncGenerator<string> {
  // At once, so that the client hears that it is connected.
  yield `retry: ${RETRY_MS}\n\n`;
  const iterator = events[Symbol.asyncIterator]();
  try {
    let next = iterator.next();
    for (;;) {
      const step = await orHeartbeat(next);
      if (step === undefined) {
        yield ': nothing new\n\n';
        continue;
      }
      if (step.done === true) return;
      yield frameOf(step.value);
      next = iterator.next();
    }
  } finally {
    await iterator.return?.();
  }
}

async function orHeartbeat<T>(next: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const heartbeat = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, HEARTBEAT_MS, undefined);
  });
  try {
    return await Promise.race([next, heartbeat]);
  } finally {
    clearTimeout(timer);
  }
}

const frameOf = ({ event, id, data }: ServerEvent): string =>
  `event: ${event}\nid: ${id}\ndata: ${data.replaceAll('\n', '\ndata: ')}\n\n`;
