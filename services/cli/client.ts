/** What the command line says to a server: where it is, a job and its result, an artifact. */
import { readFileSync } from 'node:fs';
import { parseSettings } from '../../shared/config/settings.ts';
import type { JobRequestInput } from '../../shared/contract/request.ts';
import type { JobResult } from '../../shared/contract/result.ts';
import { keyFile, serverUrl } from '../api/config.ts';

export interface Connection {
  readonly url: string;
  readonly key: string;
}

const WAIT_SECONDS = 60;
/** On top of a wait, what an answer may take before the server is held for gone. */
const ANSWER_GRACE_MS = 15_000;

/** The server refused or failed; the message is for a person. */
export class ServerError extends Error {
  override readonly name = 'ServerError';
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

async function call(
  { url, key }: Connection,
  path: string,
  init: { method: string; body?: string; headers?: Record<string, string>; waitSeconds?: number },
): Promise<Response> {
  const { waitSeconds = 0, headers, ...rest } = init;
  let response: Response;
  try {
    response = await fetch(url + path, {
      ...rest,
      headers: { Authorization: `Bearer ${key}`, ...headers },
      signal: AbortSignal.timeout(waitSeconds * 1000 + ANSWER_GRACE_MS),
    });
  } catch (cause) {
    const why =
      cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : cause;
    throw new ServerError(`No answer from ${url} (${why}). Is \`npm start\` running?`, { cause });
  }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({}))) as Record<string, string>;
  throw new ServerError(
    `${problem.code ?? response.status}: ${problem.detail ?? response.statusText}. ${problem.remedy ?? ''}`,
  );
}

/** Submits a job and returns its result, however long it takes. */
export async function submitAndWait(
  server: Connection,
  request: JobRequestInput,
): Promise<JobResult> {
  const response = await call(server, '/v1/jobs', {
    method: 'POST',
    body: JSON.stringify(request),
    headers: { 'Content-Type': 'application/json', Prefer: `wait=${WAIT_SECONDS}` },
    waitSeconds: WAIT_SECONDS,
  });
  let result = (await response.json()) as JobResult;
  while (result.state !== 'done') {
    const next = await call(server, `/v1/jobs/${result.id}?wait=${WAIT_SECONDS}`, {
      method: 'GET',
      waitSeconds: WAIT_SECONDS,
    });
    result = (await next.json()) as JobResult;
  }
  return result;
}

export async function fetchArtifact(server: Connection, url: string): Promise<Buffer> {
  const response = await call(server, url, { method: 'GET' });
  return Buffer.from(await response.arrayBuffer());
}
