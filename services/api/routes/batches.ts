/** /v1/batches: upload, wait, results, cancel. */
import { Readable } from 'node:stream';
import { z } from 'zod';
import {
  type BatchOptions,
  batchAccepted,
  batchOptions,
  batchRequest,
  batchView,
} from '../../../shared/contract/batch.ts';
import { AppError } from '../../../shared/errors.ts';
import type { JobLine } from '../batch-job.ts';
import type { BatchResults } from '../batch-results.ts';
import type { Upload, UploadBatch } from '../batch-upload.ts';
import type { Batches } from '../batches.ts';
import { requestInvalid } from '../http-error.ts';
import { type Line, readLines } from '../ndjson.ts';
import { idempotencyHeader, idempotencyKeyOf } from './idempotency-key.ts';
import {
  batchParams,
  callerOf,
  parseBatchId,
  refusals,
  type Server,
  waitQuery,
} from './server-types.ts';

export const NDJSON = 'application/x-ndjson';

const resultsQuery = z.strictObject({
  cursor: z.string().max(64).optional().describe('The `cursor` of the last line that was read.'),
  follow: z
    .enum(['true', 'false'])
    .default('false')
    .describe('Go on with jobs as they end, until all have.'),
});

export function batchRoutes(
  server: Server,
  parts: {
    upload: UploadBatch;
    batches: Batches;
    results: BatchResults;
    maxLineBytes: number;
  },
): void {
  const { upload, batches, results, maxLineBytes } = parts;
  // The stream itself: nothing of it is read before somebody asks for a line.
  server.addContentTypeParser(NDJSON, (_request, body, done) => done(null, body));

  server.post(
    '/v1/batches',
    {
      config: { scope: 'exec:batch', isStream: true },
      // Judged job by job, each refusal with its line.
      validatorCompiler: () => (value) => ({ value }),
      schema: {
        summary: 'Submit many jobs',
        description: `As one JSON object, or as a stream (\`${NDJSON}\`) of one job a line, of any length; a first line \`{"batch": {…}}\` may hold everything but \`jobs\`. Each job may have a \`key\`. Jobs start while the upload goes on. With an Idempotency-Key a cut upload is resumed by sending it again.`,
        tags: ['batches'],
        headers: idempotencyHeader,
        body: batchRequest,
        response: { 202: batchAccepted, ...refusals(400, 409, 413, 415, 422, 429) },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const idempotencyKey = idempotencyKeyOf(request.headers['idempotency-key']);
      const body: unknown = request.body;
      const lines = body instanceof Readable ? readLines(body, maxLineBytes) : undefined;
      try {
        const sent = lines === undefined ? fromJson(body) : await fromStream(lines);
        const accepted = await upload({ ...sent, caller, idempotencyKey });
        return reply.status(202).header('Location', `/v1/batches/${accepted.id}`).send(accepted);
      } finally {
        // Refused before its end, it may never have been asked for its jobs.
        await lines?.return(undefined);
      }
    },
  );

  server.get(
    '/v1/batches/:id',
    {
      config: { scope: 'exec:read', tool: 'job_get' },
      schema: {
        summary: 'One batch: how many jobs it has and what became of them',
        tags: ['batches'],
        params: batchParams,
        querystring: waitQuery,
        response: { 200: batchView, ...refusals(400, 404) },
      },
    },
    async (request) =>
      batches.get(callerOf(request), parseBatchId(request.params.id), request.query.wait * 1000),
  );

  server.get(
    '/v1/batches/:id/results',
    {
      config: { scope: 'exec:read', tool: 'job_get' },
      schema: {
        summary: 'Results in the order in which the jobs ended',
        description:
          'One result a line (NDJSON), with the `index` and `key` of its job and the `cursor` that goes on after it.',
        tags: ['batches'],
        params: batchParams,
        querystring: resultsQuery,
        response: { 200: z.unknown().describe('Lines of JSON.'), ...refusals(400, 404) },
      },
    },
    async (request, reply) => {
      const { cursor, follow } = request.query;
      const leaving = new AbortController();
      reply.raw.once('close', () => leaving.abort());
      const query = { cursor, follow: follow === 'true', signal: leaving.signal };
      const lines = await results.lines(callerOf(request), parseBatchId(request.params.id), query);
      return reply
        .header('Cache-Control', 'no-store')
        .type(`${NDJSON}; charset=utf-8`)
        .send(Readable.from(lines, { objectMode: true, highWaterMark: 1 }));
    },
  );

  server.delete(
    '/v1/batches/:id',
    {
      config: { scope: 'exec:cancel', tool: 'job_cancel' },
      schema: {
        summary: 'Cancel a batch',
        description:
          'Answers 202: no job of it starts any more, and those that run are ended. 200 when it was over. Doing it again changes nothing.',
        tags: ['batches'],
        params: batchParams,
        response: { 200: batchView, 202: batchView, ...refusals(404) },
      },
    },
    async (request, reply) => {
      const view = await batches.cancel(callerOf(request), parseBatchId(request.params.id));
      const isOver = view.counts.done === view.counts.total && view.state !== 'open';
      return reply.status(isOver ? 200 : 202).send(view);
    },
  );
}

type Sent = Pick<Upload, 'options' | 'jobs' | 'sameness' | 'isWhole'>;

function fromJson(body: unknown): Sent {
  const parsed = batchRequest.safeParse(body);
  if (!parsed.success) throw requestInvalid(parsed.error, body);
  const { jobs, ...options } = parsed.data;
  return {
    options,
    jobs: jobs.map((job, index) => ({ line: index + 1, index, text: JSON.stringify(job) ?? '' })),
    sameness: JSON.stringify(parsed.data),
    isWhole: options.onInvalid !== 'skip',
  };
}

/** The options stand in the first line, or there are none. */
async function fromStream(lines: AsyncGenerator<Line>): Promise<Sent> {
  const first = await lines.next();
  if (first.done) {
    throw new AppError('REQUEST_INVALID', { detail: 'expected a job in each line; came none' });
  }
  const options = parseOptions(first.value);
  return {
    options: options ?? {},
    jobs: numbered(options === undefined ? first.value : undefined, lines),
    sameness: JSON.stringify(options ?? {}),
    isWhole: false,
  };
}

function parseOptions({ number, text }: Line): BatchOptions | undefined {
  if (!/^\{\s*"batch"\s*:/.test(text)) return undefined;
  let head: unknown;
  try {
    head = JSON.parse(text);
  } catch (cause) {
    const detail = `line ${number}: ${(cause as Error).message}`;
    throw new AppError('BODY_NOT_JSON', { line: number, detail, cause });
  }
  const parsed = z.strictObject({ batch: batchOptions }).safeParse(head);
  if (!parsed.success) throw requestInvalid(parsed.error, head).with({ line: number });
  return parsed.data.batch;
}

async function* numbered(
  first: Line | undefined,
  rest: AsyncIterable<Line>,
): AsyncGenerator<JobLine> {
  let index = 0;
  if (first !== undefined) yield { line: first.number, text: first.text, index: index++ };
  for await (const { number, text } of rest) yield { line: number, text, index: index++ };
}
