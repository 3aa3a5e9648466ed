/** What the command line says to a server: where it is, a job, its events and its result, an artifact. */
import { readFileSync } from 'node:fs';
import { parseSettings } from '../../shared/config/settings.ts';
import type { JobRequestInput } from '../../shared/contract/request.ts';
import type { JobResult } from '../../shared/contract/result.ts';
import { keyFile, serverUrl } from '../api/config.ts';
import { type ReceivedEvent, readEvents } from './sse.ts';

export interface Connection {
  readonly url: string;
  readonly key: string;
}

const WAIT_SECONDS = 60;
/** On top of a wait, what an answer may take before the server is held for gone. */
const ANSWER_GRACE_MS = 15_000;
/** An event stream is never silent for long: after three heartbeats that did not come, its connection is gone. */
const SILENCE_MS = 45_000;

/** The server refused or failed; the message is for a person. */
export class ServerError extends Error {
  override readonly name = 'ServerError';
  /** Whether the same request may succeed later. */
  readonly isRetryable: boolean;

  constructor(message: string, options: { cause?: unknown; isRetryable?: boolean } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.isRetryable = options.isRetryable ?? false;
  }
}

/** COFFERDAM_URL, else the address of the settings; the key from the settings, else from the data folder. */
export function connectionFrom(env: Readonly<Record<string, string | undefined>>): Connection {
  const settings = parseSettings(env);
  const url = env.COFFERDAM_URL ?? serverUrl(settings.host, settings.port);
  if (settings.devKey !== undefined) return { url, key: settings.devKey };
  const file = keyFile(settings.dataDir);
  try {
    return { url, key: readFileSync(file, 'utf8').trim() };
  } catch (cause) {
    throw new ServerError(
      `There is no key: expected COFFERDAM_DEV_KEY, or ${file} as \`cofferdam serve\` makes it in the folder it is started in.`,
      { cause },
    );
  }
}

interface Call {
  readonly method: string;
  readonly body?: string | Uint8Array;
  readonly headers?: Record<string, string>;
  readonly waitSeconds?: number;
  readonly signal?: AbortSignal | undefined;
}

/** What could not be sent or read because of the connection. */
function lostConnection(url: string, cause: unknown): ServerError {
  const why = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : cause;
  return new ServerError(`No answer from ${url} (${why}). Is \`npm start\` running?`, {
    cause,
    isRetryable: true,
  });
}

/** The answer once its head is there; `signal` then still ends its body. */
async function send(
  { url, key }: Connection,
  path: string,
  { headers, signal, ...init }: Omit<Call, 'waitSeconds'> & { signal: AbortSignal },
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url + path, {
      ...init,
      headers: { Authorization: `Bearer ${key}`, ...headers },
      signal,
    });
  } catch (cause) {
    throw lostConnection(url, cause);
  }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  throw new ServerError(refusalText(response, problem), {
    isRetryable: problem.retryable === true,
  });
}

/** A refusal in one line. What a policy says has its advice in it; that for callers over HTTP is left out then. */
export function refusalText(
  { status, statusText }: Pick<Response, 'status' | 'statusText'>,
  problem: Readonly<Record<string, unknown>>,
): string {
  const text = (name: string, or: string): string =>
    typeof problem[name] === 'string' ? problem[name] : or;
  const detail = text('detail', statusText);
  const said = /[.!?]$/.test(detail) ? detail : `${detail}.`;
  const remedy = problem.policy === undefined ? text('remedy', '') : '';
  return `${text('code', String(status))}: ${said} ${remedy}`.trim();
}

function call(server: Connection, path: string, init: Call): Promise<Response> {
  const { waitSeconds = 0, signal, ...rest } = init;
  const late = AbortSignal.timeout(waitSeconds * 1000 + ANSWER_GRACE_MS);
  return send(server, path, { ...rest, signal: signal ? AbortSignal.any([signal, late]) : late });
}

/** Submits a job: its result if it ended within the wait, else the open job. */
export async function submit(
  server: Connection,
  request: JobRequestInput,
  { waitSeconds, signal }: { waitSeconds: number; signal?: AbortSignal },
): Promise<JobResult> {
  const response = await call(server, '/v1/jobs', {
    method: 'POST',
    body: JSON.stringify(request),
    headers: { 'Content-Type': 'application/json', Prefer: `wait=${waitSeconds}` },
    waitSeconds,
    signal,
  });
  return (await response.json()) as JobResult;
}

/** The result of an open job, however long it takes. */
export async function waitFor(
  server: Connection,
  job: JobResult,
  signal?: AbortSignal,
): Promise<JobResult> {
  let result = job;
  while (result.state !== 'done') {
    const next = await call(server, `/v1/jobs/${result.id}?wait=${WAIT_SECONDS}`, {
      method: 'GET',
      waitSeconds: WAIT_SECONDS,
      signal,
    });
    result = (await next.json()) as JobResult;
  }
  return result;
}

/** Submits a job and returns its result. */
export async function submitAndWait(
  server: Connection,
  request: JobRequestInput,
): Promise<JobResult> {
  return waitFor(server, await submit(server, request, { waitSeconds: WAIT_SECONDS }));
}

export async function cancelJob(server: Connection, id: string): Promise<void> {
  await call(server, `/v1/jobs/${id}`, { method: 'DELETE' });
}

/** The events of a job from one connection. Ends when the server ends them, throws when the connection is lost. */
export async function* openEvents(
  server: Connection,
  id: string,
  { lastId, signal }: { lastId: string | undefined; signal: AbortSignal },
): AsyncGenerator<ReceivedEvent> {
  const silent = new AbortController();
  const silence = setTimeout(() => silent.abort(), SILENCE_MS);
  try {
    const response = await send(server, `/v1/jobs/${encodeURIComponent(id)}/events`, {
      method: 'GET',
      headers: lastId === undefined ? {} : { 'Last-Event-ID': lastId },
      signal: AbortSignal.any([signal, silent.signal]),
    });
    yield* readEvents(heard(server.url, response, () => silence.refresh()));
  } finally {
    clearTimeout(silence);
    silent.abort();
  }
}

async function* heard(
  url: string,
  { body }: Response,
  onHeard: () => void,
): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader();
  for (;;) {
    const read = await reader?.read().catch((cause: unknown) => {
      throw lostConnection(url, cause);
    });
    if (read === undefined || read.done) return;
    onHeard();
    yield read.value;
  }
}

/** Sends content under its name; the server keeps one of each. */
export async function sendBlob(
  server: Connection,
  blob: string,
  content: Uint8Array,
): Promise<void> {
  await call(server, `/v1/blobs/${blob}`, {
    method: 'PUT',
    body: content,
    headers: { 'Content-Type': 'application/octet-stream' },
  });
}

export async function fetchArtifact(server: Connection, url: string): Promise<Buffer> {
  const response = await call(server, url, { method: 'GET' });
  return Buffer.from(await response.arrayBuffer());
}
