/**
 * One request of the batch commands: an answer, a refusal, or no answer. Of the last two it is said whether the same
 * request is worth another try.
 */
import type { z } from 'zod';
import { type Connection, refusalText, ServerError } from '../client.ts';
import { readJson } from './body.ts';

/** What an answer may take that does not wait for jobs. */
const ANSWER_WITHIN_MS = 15_000;

/** The server said no; `line` counts the lines of the stream that was sent. */
export class Refusal extends ServerError {
  readonly code: string;
  readonly detail: string;
  readonly remedy: string;
  readonly line: number | undefined;
  readonly batch: string | undefined;
  readonly isTransient: boolean;
  /** The caller is not let in: what was asked was not looked at. */
  readonly isAtTheDoor: boolean;
  readonly retryAfterMs: number;

  constructor(response: Response, problem: Readonly<Record<string, unknown>>) {
    const text = (name: string, or: string): string =>
      typeof problem[name] === 'string' ? problem[name] : or;
    super(refusalText(response, problem));
    this.code = text('code', String(response.status));
    this.detail = text('detail', response.statusText);
    this.remedy = text('remedy', '');
    this.line = typeof problem.line === 'number' ? problem.line : undefined;
    this.batch = typeof problem.batch === 'string' ? problem.batch : undefined;
    this.isTransient = response.status === 429 || response.status >= 500;
    const isClosed = response.status === 401 || response.status === 403;
    // The policy is asked of a job that was looked at.
    this.isAtTheDoor = isClosed && problem.policy === undefined;
    const seconds = Number(response.headers.get('retry-after') ?? 0);
    this.retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : 0;
  }
}

/** Nothing came back, or the answer broke off. */
export class NoAnswer extends ServerError {
  /** A connection was made, and lost: the address is right. */
  readonly wasConnected: boolean;

  constructor(url: string, cause: unknown) {
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const why = inner instanceof Error ? inner.message || inner.name : String(inner);
    super(`No answer from ${url} (${why}). Is \`npm start\` running?`, { cause });
    const code = inner instanceof Error && 'code' in inner ? String(inner.code) : '';
    this.wasConnected = LOST_CONNECTION.includes(code);
  }
}

const LOST_CONNECTION = [
  'ECONNRESET',
  'EPIPE',
  'UND_ERR_SOCKET',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
];

/** Whether the same request may be answered otherwise a little later. */
export const isTransient = (error: unknown): error is NoAnswer | Refusal =>
  error instanceof NoAnswer || (error instanceof Refusal && error.isTransient);

/** An answer of 200 or 202; aborting `signal` throws its reason. */
export async function request(
  { url, key }: Connection,
  path: string,
  init: RequestInit & { signal: AbortSignal },
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url + path, {
      ...init,
      headers: { Authorization: `Bearer ${key}`, ...(init.headers as Record<string, string>) },
    });
  } catch (cause) {
    init.signal.throwIfAborted();
    throw new NoAnswer(url, cause);
  }
  if (response.ok) return response;
  const problem = await readJson(response, init.signal).catch(() => undefined);
  init.signal.throwIfAborted();
  throw new Refusal(response, (problem ?? {}) as Record<string, unknown>);
}

/** A request whose whole answer is one JSON object, with a limit on the time that it takes. */
export async function requestJson(
  server: Connection,
  path: string,
  init: { method: 'GET' | 'DELETE'; signal: AbortSignal; waitSeconds?: number },
): Promise<unknown> {
  const { method, signal, waitSeconds = 0 } = init;
  const late = AbortSignal.timeout(waitSeconds * 1000 + ANSWER_WITHIN_MS);
  try {
    const both = AbortSignal.any([signal, late]);
    return await readJson(await request(server, path, { method, signal: both }), both);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ServerError) throw error;
    throw new NoAnswer(server.url, error);
  }
}

/** An answer as the contract has it; another one is of a server of another version, or of none of ours. */
export function parseAnswer<T>({ url }: Connection, schema: z.ZodType<T>, answer: unknown): T {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
  throw new ServerError(
    `${url} answered what this version does not understand: ${where}${issue?.message}`,
  );
}
