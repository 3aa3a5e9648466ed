/** Batches as a client sends and reads them: uploads and results are streams of lines. */
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BatchAccepted, BatchOptions, BatchView } from '../shared/contract/batch.ts';
import type { JobRequestInput } from '../shared/contract/request.ts';
import type { JobResult } from '../shared/contract/result.ts';
import type { Client } from './cofferdam.ts';

/** Lines sent as one piece: fewer, larger writes cost the client less. */
const LINES_A_PIECE = 500;
const POLL_MS = 100;
const STARTED_WITHIN_MS = 60_000;
const STREAM_WITHIN_MS = 900_000;

/** Uploads `count` jobs as one stream of lines; the answer comes when all are accepted. */
export async function submitBatch(
  client: Client,
  options: BatchOptions,
  count: number,
  jobOf: (index: number) => JobRequestInput,
): Promise<BatchAccepted> {
  const response = await request(client, '/v1/batches', {
    method: 'POST',
    body: Readable.toWeb(Readable.from(piecesOf(options, count, jobOf))) as ReadableStream,
    headers: { 'Content-Type': 'application/x-ndjson' },
  });
  const accepted = (await response.json()) as BatchAccepted;
  if (accepted.counts.total !== count) {
    throw new Error(`expected ${count} accepted jobs; came ${JSON.stringify(accepted)}`);
  }
  return accepted;
}

function* piecesOf(
  options: BatchOptions,
  count: number,
  jobOf: (index: number) => JobRequestInput,
): Generator<Buffer> {
  let lines = [JSON.stringify({ batch: options })];
  for (let index = 0; index < count; index++) {
    lines.push(JSON.stringify(jobOf(index)));
    if (lines.length >= LINES_A_PIECE || index === count - 1) {
      yield Buffer.from(`${lines.join('\n')}\n`);
      lines = [];
    }
  }
}

/** Results in order of completion, as they come, until the batch is over. */
export async function* resultsOf(client: Client, id: string): AsyncGenerator<JobResult> {
  const response = await request(client, `/v1/batches/${id}/results?follow=true`);
  let rest = '';
  const decoder = new TextDecoder();
  for await (const piece of response.body as ReadableStream<Uint8Array>) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') yield JSON.parse(line) as JobResult;
  }
}

/** A whole batch, from the first byte sent to the last result read, in milliseconds; every job must exit with 0. */
export async function runBatch(
  client: Client,
  options: BatchOptions,
  count: number,
  jobOf: (index: number) => JobRequestInput,
): Promise<number> {
  const startedAt = performance.now();
  const { id } = await submitBatch(client, options, count, jobOf);
  let read = 0;
  for await (const { outcome, exitCode, stderr } of resultsOf(client, id)) {
    if (exitCode !== 0) throw new Error(`a job ended ${JSON.stringify(outcome)}: ${stderr}`);
    read++;
  }
  if (read !== count) throw new Error(`expected ${count} results of ${id}; came ${read}`);
  return performance.now() - startedAt;
}

export async function viewBatch(client: Client, id: string): Promise<BatchView> {
  const response = await request(client, `/v1/batches/${id}`);
  return (await response.json()) as BatchView;
}

export async function cancelBatch(client: Client, id: string): Promise<void> {
  await (await request(client, `/v1/batches/${id}`, { method: 'DELETE' })).text();
}

/** Until a job of it has started. */
export async function untilRunning(client: Client, id: string): Promise<void> {
  const deadline = Date.now() + STARTED_WITHIN_MS;
  while (Date.now() < deadline) {
    const { counts } = await viewBatch(client, id);
    if (counts.running + counts.done > 0) return;
    await sleep(POLL_MS);
  }
  throw new Error(`No job of ${id} started within ${STARTED_WITHIN_MS} ms.`);
}

async function request(
  { url, key }: Client,
  route: string,
  init: { method?: string; body?: ReadableStream; headers?: Record<string, string> } = {},
): Promise<Response> {
  const response = await fetch(url + route, {
    ...init,
    headers: { ...init.headers, Authorization: `Bearer ${key}` },
    ...(init.body === undefined ? {} : { duplex: 'half' }),
    signal: AbortSignal.timeout(STREAM_WITHIN_MS),
  } as RequestInit);
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return response;
}
