/** One request of an administrative command, and its answer as the contract has it. */
import type { z } from 'zod';
import { readJson } from './batch/body.ts';
import { NoAnswer, parseAnswer, request } from './batch/request.ts';
import { type Connection, ServerError } from './client.ts';

const ANSWER_WITHIN_MS = 15_000;

export interface Question<Answer> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly answer: z.ZodType<Answer>;
}

/** Throws a ServerError when it is refused, or not answered in time. */
export async function ask<Answer>(
  server: Connection,
  { method, path, body, headers, answer }: Question<Answer>,
): Promise<Answer> {
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  const sent =
    body === undefined
      ? { headers: { ...headers } }
      : {
          body: JSON.stringify(body),
          headers: { 'Content-Type': 'application/json', ...headers },
        };
  try {
    const response = await request(server, path, { method, signal, ...sent });
    const isEmpty = response.status === 204;
    return parseAnswer(server, answer, isEmpty ? undefined : await readJson(response, signal));
  } catch (error) {
    if (error instanceof ServerError) throw error;
    throw new NoAnswer(server.url, error);
  }
}

/** Rows of text with their columns beneath one another. */
export function columnsOf(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, at) =>
    Math.max(...rows.map((row) => (row[at] ?? '').length)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
