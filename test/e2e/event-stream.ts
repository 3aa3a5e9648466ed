/** Event streams as a client of another make would read them, cut wherever a test wants. */
import type { OutputEvent } from '../../shared/contract/event.ts';
import type { JobResult } from '../../shared/contract/result.ts';

const WITHIN_MS = 60_000;

export interface SeenEvent {
  readonly event: string;
  readonly id: string;
  readonly data: string;
  /** When it was received. */
  readonly atMs: number;
}

export interface Server {
  readonly url: string;
  readonly key: string;
}

/** Reads one connection until it ends, `enough` says so, or so many bytes were read. */
export async function readStream(
  { url, key }: Server,
  id: string,
  options: {
    lastId?: string | undefined;
    enough?: (events: readonly SeenEvent[]) => boolean;
    cutAfterBytes?: number;
  } = {},
): Promise<SeenEvent[]> {
  const { lastId, enough = () => false, cutAfterBytes = Number.POSITIVE_INFINITY } = options;
  const leaving = new AbortController();
  const response = await fetch(`${url}/v1/jobs/${id}/events`, {
    headers: {
      Authorization: `Bearer ${key}`,
      ...(lastId === undefined ? {} : { 'Last-Event-ID': lastId }),
    },
    signal: AbortSignal.any([leaving.signal, AbortSignal.timeout(WITHIN_MS)]),
  });
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  const events: SeenEvent[] = [];
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  let text = '';
  for (let bytes = 0; bytes < cutAfterBytes && !enough(events); ) {
    const { value, done } = (await reader?.read()) ?? { done: true };
    if (done || value === undefined) return events;
    bytes += value.length;
    // What lies behind the cut never arrived.
    text += decoder.decode(value.subarray(0, value.length - Math.max(0, bytes - cutAfterBytes)), {
      stream: true,
    });
    const frames = text.split('\n\n');
    text = frames.pop() ?? '';
    events.push(...frames.flatMap(parseFrame));
  }
  leaving.abort();
  return events;
}

function parseFrame(frame: string): SeenEvent[] {
  const field = (name: string): string | undefined =>
    frame
      .split('\n')
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2);
  const [event, id, data] = [field('event'), field('id'), field('data')];
  if (event === undefined || id === undefined || data === undefined) return [];
  return [{ event, id, data, atMs: Date.now() }];
}

/** So many connections are cut; the next one is left alone, since the result itself is one large event. */
const CUTS = 40;

/** Reads to the result over many connections, each cut after some bytes. */
export async function readThroughCuts(
  server: Server,
  id: string,
  cutAfter: () => number,
): Promise<{ events: SeenEvent[]; connections: number }> {
  const events: SeenEvent[] = [];
  for (let connections = 1; connections <= CUTS + 1; connections++) {
    const lastId = events.at(-1)?.id;
    const cutAfterBytes = connections <= CUTS ? cutAfter() : Number.POSITIVE_INFINITY;
    events.push(...(await readStream(server, id, { lastId, cutAfterBytes })));
    if (events.at(-1)?.event === 'result') return { events, connections };
  }
  throw new Error('the stream does not end');
}

export const outputs = (events: readonly SeenEvent[]): OutputEvent[] =>
  events.filter(({ event }) => event === 'output').map(({ data }) => JSON.parse(data));

/** The bytes of one step's stream, which must come in order and never twice. */
export function bytesOf(
  events: readonly SeenEvent[],
  stream: 'stdout' | 'stderr' = 'stdout',
  step = 0,
): Buffer {
  let reached = 0;
  const pieces = outputs(events)
    .filter((one) => one.stream === stream && one.step === step)
    .map((one) => {
      if (one.offset < reached) throw new Error(`offset ${one.offset} after ${reached}`);
      const bytes = 'text' in one ? Buffer.from(one.text) : Buffer.from(one.base64, 'base64');
      reached = one.offset + bytes.length;
      return bytes;
    });
  return Buffer.concat(pieces);
}

export const resultOf = (events: readonly SeenEvent[]): JobResult =>
  JSON.parse(events.find(({ event }) => event === 'result')?.data ?? 'null');

export const storedBytes = (
  result: Pick<JobResult, 'stdout' | 'stderr' | 'stdoutEncoding' | 'stderrEncoding'>,
  stream: 'stdout' | 'stderr' = 'stdout',
): Buffer => Buffer.from(result[stream], result[`${stream}Encoding`]);
