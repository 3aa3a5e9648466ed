/** Batches as a caller has them: sent whole, as lines, or cut in the middle; results read line by line. */
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { expect } from 'vitest';
import type { BatchAccepted, BatchView } from '../../shared/contract/batch.ts';
import type { JobResult, Outcome } from '../../shared/contract/result.ts';
import { type Caller, callerOf } from '../helpers/server.ts';
import { until } from './watching.ts';

const OVER_WITHIN_MS = 120_000;

/** A line of results. */
export interface ResultLine extends JobResult {
  readonly index: number;
  readonly key: string | null;
  readonly cursor: string;
  readonly outcome: Outcome;
}

type Headers = Record<string, string>;

/** Fields that every job of a quick batch has: one sandbox for all. */
export const GROUPED = { isolation: 'group' } as const;
export const sh = (script: string) => ({ command: ['sh', '-c', script] });

/** First line of a stream whose jobs share sandboxes. */
export const HEAD = { batch: { defaults: GROUPED } };
/** Headers with an Idempotency-Key that was never used. */
export const named = () => ({ 'Idempotency-Key': `upload-${randomUUID()}` });
/** Prints what no other start of any job prints. */
export const NONCE = sh('cat /proc/sys/kernel/random/uuid');
export const keyed = (count: number) =>
  Array.from({ length: count }, (_, at) => ({ ...NONCE, key: `k${at}` }));

export const ndjson = (lines: readonly unknown[]): string =>
  lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('');

export function batchesOf(server: { url: string; key: string }) {
  const api: Caller = callerOf(server);
  const send = (body: unknown, headers: Headers = {}): Promise<Response> =>
    api.send('/v1/batches', { method: 'POST', body, headers });
  const sendLines = (lines: readonly unknown[] | string, headers: Headers = {}) =>
    send(typeof lines === 'string' ? lines : ndjson(lines), {
      'Content-Type': 'application/x-ndjson',
      ...headers,
    });
  const get = async (id: string, waitSeconds = 0): Promise<BatchView> => {
    const response = await api.send(`/v1/batches/${id}?wait=${waitSeconds}`);
    if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
    return (await response.json()) as BatchView;
  };
  const resultsOf = (id: string, query = ''): Promise<Response> =>
    api.send(`/v1/batches/${id}/results${query}`);
  return {
    api,
    send,
    sendLines,
    get,
    resultsOf,
    submit: async (body: unknown, headers?: Headers) => accepted(await send(body, headers)),
    submitLines: async (lines: readonly unknown[] | string, headers?: Headers) =>
      accepted(await sendLines(lines, headers)),
    /** Once no job of it waits or runs. */
    untilOver: (id: string): Promise<BatchView> =>
      until(`${id} is over`, OVER_WITHIN_MS, async () => {
        const { state, counts } = await get(id, 1);
        const isOver = state !== 'open' && counts.done === counts.total;
        return isOver && get(id);
      }),
    results: async (id: string, query = ''): Promise<ResultLine[]> =>
      linesOf(await (await resultsOf(id, query)).text()),
    cancel: async (id: string): Promise<{ status: number; view: BatchView }> => {
      const response = await api.send(`/v1/batches/${id}`, { method: 'DELETE' });
      return { status: response.status, view: (await response.json()) as BatchView };
    },
  };
}

export type Batches = ReturnType<typeof batchesOf>;

async function accepted(response: Response): Promise<BatchAccepted> {
  if (response.status !== 202) throw new Error(`${response.status}: ${await response.text()}`);
  const view = (await response.json()) as BatchAccepted;
  expect(response.headers.get('location')).toBe(`/v1/batches/${view.id}`);
  return view;
}

export const linesOf = (text: string): ResultLine[] => {
  expect(text === '' || text.endsWith('\n')).toBe(true);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ResultLine);
};

export async function expectRefused(
  response: Response,
  expected: { status: number; code: string; line?: number; field?: string },
): Promise<{ detail: string; batch?: string }> {
  const problem = (await response.json()) as { detail: string; batch?: string };
  expect({ ...problem, status: response.status }).toMatchObject(expected);
  expect(response.headers.get('content-type')).toContain('application/problem+json');
  return problem;
}

/** Every job once, whatever the order of their ends. */
export const expectEachOnce = (lines: readonly { index: number }[], count: number): void =>
  expect(lines.map(({ index }) => index).toSorted((one, other) => one - other)).toEqual(
    Array.from({ length: count }, (_, index) => index),
  );

/** What adds up in every look at a batch. */
export function expectSound({ counts, outcomes, state }: BatchView): void {
  const { total, queued, running, done } = counts;
  expect(queued + running + done).toBe(total);
  expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0)).toBe(done);
  if (state === 'done') expect(done).toBe(total);
}

/** An upload that goes piece by piece and may break off. */
export function openUpload(server: { url: string; key: string }, headers: Headers = {}) {
  const sent = http.request(`${server.url}/v1/batches`, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${server.key}`,
      'Content-Type': 'application/x-ndjson',
      ...headers,
    },
  });
  sent.on('error', () => {}); // it is cut on purpose
  sent.flushHeaders();
  const answer = new Promise<{ status: number; body: string }>((resolve, reject) => {
    sent.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
      );
    });
    sent.once('close', () => reject(new Error('cut')));
  });
  answer.catch(() => {});
  return {
    answer,
    /** Resolves once the system has taken it. */
    write: (text: string): Promise<void> =>
      new Promise((resolve) => sent.write(text, () => resolve())),
    end: () => sent.end(),
    cut: () => sent.destroy(),
  };
}

/** A counter or gauge of the server, as it is now. */
export async function figureOf(api: Caller, name: string): Promise<number> {
  const text = await (await api.send('/metrics')).text();
  const values = [...text.matchAll(new RegExp(`^cofferdam_${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))];
  return values.reduce((sum, [, value]) => sum + Number(value), 0);
}
