/**
 * A server that knows batches and nothing else, for what a real one does not do on demand: connections that are cut in the
 * middle of an upload or of a line, refusals for a while, results that are gone. Each job has its result at once.
 */
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { emptyTally } from '../../../services/cli/batch/tally.ts';
import { countedAs } from '../../../shared/contract/batch.ts';
import type { Outcome } from '../../../shared/contract/result.ts';

interface Batch {
  readonly id: string;
  readonly header: Record<string, unknown>;
  readonly jobs: { outcome: Outcome }[];
  skipped: number;
  isOpen: boolean;
  isCancelled: boolean;
}

export interface BatchServer {
  readonly url: string;
  readonly key: string;
  readonly batches: readonly Batch[];
  /** Idempotency-Keys of the uploads as they came. */
  readonly keys: (string | undefined)[];
  /** What was asked, as `GET /v1/…`. */
  readonly asked: string[];
  /** For each upload in turn: after how many lines its connection is cut. */
  readonly cutUploads: number[];
  /** For each reading of results in turn: after how many bytes its connection is cut. */
  readonly cutResults: number[];
  /** Whether a reading of results that is cut stays open instead, and silent. */
  isHolding: boolean;
  /** For each request in turn: a refusal instead of an answer. */
  readonly refusals: { status: number; code: string; retryAfter?: number }[];
  /** Results that are no longer to be had, from the last one. */
  lost: number;
  stop(): Promise<void>;
}

type Faults = Omit<BatchServer, 'url' | 'key' | 'stop' | 'batches'> & { batches: Batch[] };

export async function startBatchServer(): Promise<BatchServer> {
  const state: Faults = {
    batches: [],
    keys: [],
    asked: [],
    cutUploads: [],
    cutResults: [],
    isHolding: false,
    refusals: [],
    lost: 0,
  };
  const server = http.createServer((request, response) => {
    answer(state, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stop = (): Promise<void> => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  return Object.assign(state, { url: `http://127.0.0.1:${port}`, key: 'k', stop });
}

async function answer(
  state: Faults,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '', 'http://fake');
  state.asked.push(`${request.method} ${request.url}`);
  const refusal = state.refusals.shift();
  if (refusal !== undefined) {
    const { status, code, retryAfter } = refusal;
    const headers = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) };
    request.resume();
    return void sendJson(response, status, { code, detail: 'no', remedy: 'Wait.' }, headers);
  }
  if (request.method === 'POST') return upload(state, request, response);
  const batch = state.batches.find(({ id }) => url.pathname.includes(id));
  if (batch === undefined)
    return void sendJson(response, 404, { code: 'BATCH_NOT_FOUND', detail: url.pathname });
  if (url.pathname.endsWith('/results')) return results(state, batch, url, response);
  if (request.method === 'DELETE') batch.isCancelled = true;
  sendJson(response, request.method === 'DELETE' ? 202 : 200, viewOf(batch));
}

async function upload(
  state: Faults,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  const key = request.headers['idempotency-key'] as string | undefined;
  state.keys.push(key);
  const id = `bat_${key ?? randomUUID()}`;
  const cutAfter = state.cutUploads.shift() ?? Number.POSITIVE_INFINITY;
  let batch = state.batches.find((one) => one.id === id);
  if (batch === undefined) {
    batch = { id, header: {}, jobs: [], skipped: 0, isOpen: true, isCancelled: false };
    state.batches.push(batch);
  }
  batch.skipped = 0;
  const errors: unknown[] = [];
  let line = 0;
  let place = 0;
  for await (const text of linesFrom(request)) {
    line += 1;
    if (line > cutAfter) return void request.socket.destroy();
    const job = jsonOf(text);
    if (line === 1 && job?.batch !== undefined) Object.assign(batch.header, job.batch);
    else if (job?.denied === true) {
      const detail = `line ${line}: exec_batch is denied by the rule r: No.`;
      const problem = { code: 'POLICY_DENIED', detail, line, batch: id, policy: { rule: 'r' } };
      return void sendJson(response, 403, problem);
    } else if (job !== undefined) {
      batch.jobs[place] ??= { outcome: job as unknown as Outcome };
      place += 1;
    } else if (batch.header.onInvalid === 'skip') {
      batch.skipped += 1;
      errors.push({ line, code: 'REQUEST_INVALID', detail: 'not JSON' });
    } else {
      const problem = { code: 'REQUEST_INVALID', detail: 'not JSON', line, batch: id };
      return void sendJson(response, 400, problem);
    }
  }
  batch.isOpen = false;
  sendJson(response, 202, { ...viewOf(batch), skipped: batch.skipped, errors });
}

async function results(
  { cutResults, isHolding, lost }: Faults,
  { jobs }: Batch,
  url: URL,
  response: http.ServerResponse,
): Promise<void> {
  const from = Number(url.searchParams.get('cursor') ?? 0);
  const lines = jobs.slice(from, jobs.length - lost).map(({ outcome }, at) => {
    const index = from + at;
    return `${JSON.stringify({ index, key: null, cursor: String(index + 1), outcome, stdout: 'x'.repeat(index % 50) })}\n`;
  });
  const text = `\n${lines.join('')}`;
  const cutAfter = cutResults.shift();
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  if (cutAfter === undefined) return void response.end(text);
  response.write(text.slice(0, cutAfter), () => {
    if (!isHolding) response.socket?.destroySoon();
  });
}

function viewOf({ id, jobs, isOpen, isCancelled }: Batch) {
  const { no_result: _, ...outcomes } = emptyTally();
  for (const { outcome } of jobs) outcomes[countedAs(outcome)] += 1;
  const counts = { total: jobs.length, queued: 0, running: 0, done: jobs.length };
  const state = isCancelled ? 'cancelled' : isOpen ? 'open' : 'done';
  return { id, state, counts, outcomes, createdAt: '2026-01-01T00:00:00.000Z' };
}

async function* linesFrom(request: http.IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  for await (const piece of request) {
    const lines = (rest + String(piece)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest !== '') yield rest;
}

function jsonOf(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const sendJson = (
  response: http.ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
) => response.writeHead(status, headers).end(JSON.stringify(body));
