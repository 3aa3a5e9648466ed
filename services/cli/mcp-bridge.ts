/**
 * Messages of MCP, one a line, to a server's /mcp and back. It knows nothing of the tools: a message is sent as it came,
 * what is answered is written as it comes. Over stdio a call is cancelled by a message, over HTTP by closing its
 * connection: that is all it translates.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { Connection } from './client.ts';
import { readEvents } from './sse.ts';

/** The server says something every 15 s: after so long its connection is gone. A wait is at most 55 s. */
const SILENCE_MS = 90_000;
const PARSE_ERROR = -32_700;
const INVALID_REQUEST = -32_600;
const FAILED = -32_000;
const VERSION_META = 'io.modelcontextprotocol/protocolVersion';

type Id = string | number;

interface Message {
  readonly id?: Id;
  readonly method?: string;
  readonly params?: {
    readonly [name: string]: unknown;
    readonly _meta?: { readonly [name: string]: unknown };
  };
}

interface Pipe {
  readonly server: Connection;
  readonly send: (message: object) => void;
  readonly calls: Map<Id, AbortController>;
  /** What `initialize` agreed on, for clients of the older revisions. */
  version: string | undefined;
}

/** Resolves when the input has ended; calls under way are then cancelled. */
export async function bridge(ends: {
  server: Connection;
  input: Readable;
  output: Writable;
}): Promise<void> {
  const { server, input, output } = ends;
  const pipe: Pipe = {
    server,
    calls: new Map(),
    version: undefined,
    send: (message) => void output.write(`${JSON.stringify(message)}\n`),
  };
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  // A client that is gone reads no more: that is its end of the conversation.
  output.on('error', () => lines.close());
  lines.on('line', (line) => {
    if (line.trim() !== '') take(pipe, line);
  });
  await once(lines, 'close');
  for (const call of pipe.calls.values()) call.abort();
}

function take(pipe: Pipe, line: string): void {
  let message: Message;
  try {
    message = JSON.parse(line) as Message;
  } catch {
    return pipe.send(errorOf(null, PARSE_ERROR, 'Parse error: expected one JSON object a line'));
  }
  if (typeof message !== 'object' || message === null || Array.isArray(message)) {
    return pipe.send(errorOf(null, INVALID_REQUEST, 'Invalid request: expected one JSON object'));
  }
  if (message.method === 'notifications/cancelled') {
    return pipe.calls.get(message.params?.requestId as Id)?.abort();
  }
  void exchange(pipe, message);
}

/** A request is answered whatever happens, unless its sender cancelled it. */
async function exchange(pipe: Pipe, message: Message): Promise<void> {
  const { id } = message;
  const call = new AbortController();
  if (id !== undefined) pipe.calls.set(id, call);
  let fault = 'the answer broke off';
  let isAnswered = false;
  try {
    for await (const answer of answersTo(pipe, message, call)) {
      if (isAnswerTo(answer, id)) isAnswered = true;
      if (message.method === 'initialize') learnVersion(pipe, answer);
      if (!call.signal.aborted) pipe.send(answer);
    }
  } catch (error) {
    fault = faultOf(error);
  } finally {
    if (id !== undefined && pipe.calls.get(id) === call) pipe.calls.delete(id);
  }
  const isCancelled = call.signal.aborted && call.signal.reason !== SILENT;
  if (id === undefined || isAnswered || isCancelled) return;
  pipe.send(errorOf(id, FAILED, `No answer from ${pipe.server.url}: ${fault}.`));
}

const SILENT = new Error('it has been silent for too long');

const isAnswerTo = (answer: object, id: Id | undefined): boolean =>
  id !== undefined && 'id' in answer && answer.id === id && !('method' in answer);

function faultOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

async function* answersTo(
  pipe: Pipe,
  message: Message,
  call: AbortController,
): AsyncGenerator<object> {
  const { server } = pipe;
  const silence = setTimeout(() => call.abort(SILENT), SILENCE_MS);
  try {
    const response = await fetch(`${server.url}/mcp`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${server.key}`, ...headersOf(pipe, message) },
      body: JSON.stringify(message),
      signal: call.signal,
    });
    const type = response.headers.get('content-type') ?? '';
    if (type.startsWith('text/event-stream') && response.body !== null) {
      for await (const { data } of readEvents(heard(response.body, silence))) {
        // The first event of a stream may have no data: it only names a place.
        if (data !== '') yield JSON.parse(data) as object;
      }
      return;
    }
    const text = await response.text();
    if (text === '') {
      if (!response.ok) throw new Error(`status ${response.status}`);
      return;
    }
    yield answerOf(message, response.status, JSON.parse(text));
  } finally {
    clearTimeout(silence);
  }
}

async function* heard(
  chunks: AsyncIterable<Uint8Array>,
  silence: NodeJS.Timeout,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    silence.refresh();
    yield chunk;
  }
}

/** What is refused before it is a message of the protocol is answered as a problem: see docs/errors.md. */
function answerOf({ id }: Message, status: number, body: unknown): object {
  if (typeof body !== 'object' || body === null) throw new Error(`status ${status}`);
  if ('jsonrpc' in body) return body;
  const { code, detail, remedy } = body as Record<string, unknown>;
  return errorOf(id ?? null, FAILED, `${code ?? status}: ${detail ?? ''} ${remedy ?? ''}`.trim());
}

function learnVersion(pipe: Pipe, answer: object): void {
  const { result } = answer as { result?: { protocolVersion?: unknown } };
  if (typeof result?.protocolVersion === 'string') pipe.version = result.protocolVersion;
}

/** What HTTP wants to see of a message without reading it. */
function headersOf({ version }: Pipe, { method = '', params = {} }: Message) {
  const claimed = params._meta?.[VERSION_META];
  const isOfNow = typeof claimed === 'string';
  const name = method === 'resources/read' ? params.uri : params.name;
  return {
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
    ...(isOfNow ? { 'Mcp-Method': method, 'MCP-Protocol-Version': claimed } : {}),
    ...(isOfNow && typeof name === 'string' ? { 'Mcp-Name': headerValue(name) } : {}),
    ...(isOfNow || version === undefined ? {} : { 'MCP-Protocol-Version': version }),
  };
}

/** Plain text as it is; what a header cannot hold in the form that the protocol has for it. */
const headerValue = (text: string): string =>
  /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !text.startsWith('=?base64?')
    ? text
    : `=?base64?${Buffer.from(text).toString('base64')}?=`;

const errorOf = (id: Id | null, code: number, message: string): object => ({
  jsonrpc: '2.0',
  id,
  error: { code, message },
});
