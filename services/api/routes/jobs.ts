/** /v1/jobs: submit, wait, read, list, cancel. */
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { jobPage } from '../../../shared/contract/page.ts';
import { jobRequest } from '../../../shared/contract/request.ts';
import { jobResult, jobState } from '../../../shared/contract/result.ts';
import { AppError } from '../../../shared/errors.ts';
import { type Admit, newJobId } from '../admit.ts';
import type { Jobs, JobView } from '../jobs.ts';
import type { Results } from '../results.ts';
import { idempotencyHeader, idempotencyKeyOf } from './idempotency-key.ts';
import {
  callerOf,
  MAX_WAIT_SECONDS,
  parseBatchId,
  queryInt,
  refusals,
  type Server,
  waitQuery,
} from './server-types.ts';

const MAX_PAGE = 200;

export const jobId = z
  .string()
  .regex(/^job_[0-9a-f]{32}$/, 'expected an id such as job_ and 32 hexadecimal digits');

const jobParams = z.strictObject({ id: z.string() });

const listQuery = z.strictObject({
  state: jobState.optional().describe('Only jobs in this state.'),
  label: z
    .string()
    .max(400)
    .optional()
    .describe('Only jobs with this label: `name` or `name=value`.'),
  after: z.iso.datetime().optional().describe('Only jobs accepted at this time or later.'),
  before: z.iso.datetime().optional().describe('Only jobs accepted before this time.'),
  batch: z
    .string()
    .max(64)
    .optional()
    .describe(
      'The jobs of this batch, in its order. Without it the list leaves jobs of batches out.',
    ),
  limit: queryInt(1, MAX_PAGE, 50).describe(`Jobs of a page, at most ${MAX_PAGE}.`),
  cursor: z.string().max(64).optional().describe('The `next` of the page before.'),
});

const submitHeaders = idempotencyHeader.extend({
  prefer: z
    .string()
    .optional()
    .describe(
      `wait=N: answer with the result if it is there in N seconds, at most ${MAX_WAIT_SECONDS}.`,
    ),
});

/** `Prefer: wait=N` (RFC 7240), in seconds. */
function preferredWaitMs(prefer: string | string[] | undefined): number {
  const text = Array.isArray(prefer) ? prefer.join(',') : (prefer ?? '');
  const [, seconds] = text.match(/(?:^|[,;\s])wait\s*=\s*"?([^",;\s]*)/i) ?? [];
  if (seconds === undefined) return 0;
  if (!/^\d{1,3}$/.test(seconds) || Number(seconds) > MAX_WAIT_SECONDS) {
    throw new AppError('REQUEST_INVALID', {
      field: 'Prefer',
      detail: `Prefer: expected wait=0 to wait=${MAX_WAIT_SECONDS}; came wait=${seconds}`,
    });
  }
  return Number(seconds) * 1000;
}

/** A client that goes while it waits, and has no key to find its job by, can never ask for it: nobody wants it any more. */
function whenLeft(reply: FastifyReply, act: () => void): void {
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) act();
  });
}

/** The stored text as it is: never parsed and printed again. */
const sendJson = (reply: FastifyReply, status: number, json: string): FastifyReply =>
  reply.status(status).type('application/json; charset=utf-8').send(json);

export function jobRoutes(
  server: Server,
  parts: { admit: Admit; jobs: Jobs; results: Results; instance: string },
): void {
  const { admit, jobs, results, instance } = parts;
  const ownId = (text: string): string => {
    // An id of another form is answered like one that does not exist.
    if (!jobId.safeParse(text).success) throw new AppError('NOT_FOUND');
    return text;
  };

  server.post(
    '/v1/jobs',
    {
      config: { scope: 'exec:run' },
      schema: {
        summary: 'Submit a job',
        description:
          'Answers 202 with the open job, or 200 with its result when `Prefer: wait=N` was sent and it ended in time.',
        tags: ['jobs'],
        headers: submitHeaders,
        body: jobRequest,
        response: { 200: jobResult, 202: jobResult, ...refusals(400, 413, 415, 422, 429) },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const waitMs = preferredWaitMs(request.headers.prefer);
      const idempotencyKey = idempotencyKeyOf(request.headers['idempotency-key']);
      const id = newJobId();
      const waiting = waitMs > 0 ? results.expect(id, waitMs) : undefined;
      let view: JobView;
      let acceptedId = id;
      try {
        const replyTo = waiting ? instance : '';
        const accepting = admit.job({ id, caller, request: request.body, idempotencyKey, replyTo });
        if (waiting !== undefined && idempotencyKey === undefined) {
          whenLeft(reply, () => {
            waiting.cancel();
            const cancelling = accepting.then(() => jobs.cancel(caller, id));
            cancelling.catch((error: unknown) =>
              request.log.debug({ err: error }, 'not cancelled'),
            );
          });
        }
        const accepted = await accepting;
        acceptedId = accepted.id;
        const json = accepted.isRepeated ? undefined : await waiting?.result;
        if (accepted.isRepeated) view = await jobs.get(caller, accepted.id, waitMs);
        else view = json === undefined ? await jobs.get(caller, id, 0) : { isDone: true, json };
      } finally {
        waiting?.cancel();
      }
      if (waitMs > 0) void reply.header('Preference-Applied', `wait=${waitMs / 1000}`);
      void reply.header('Location', `/v1/jobs/${acceptedId}`);
      return sendJson(reply, view.isDone ? 200 : 202, view.json);
    },
  );

  server.get(
    '/v1/jobs',
    {
      config: { scope: 'exec:read', tool: 'job_list' },
      schema: {
        summary: 'List own jobs, the newest first',
        tags: ['jobs'],
        querystring: listQuery,
        response: { 200: jobPage, ...refusals(400, 404) },
      },
    },
    async (request) => {
      const { state, label, after, before, batch, limit, cursor } = request.query;
      return jobs.list(callerOf(request), {
        state,
        label,
        batch: batch === undefined ? undefined : parseBatchId(batch),
        afterMs: after === undefined ? undefined : Date.parse(after),
        beforeMs: before === undefined ? undefined : Date.parse(before),
        limit,
        cursor,
      });
    },
  );

  server.get(
    '/v1/jobs/:id',
    {
      config: { scope: 'exec:read', tool: 'job_get' },
      schema: {
        summary: 'One job: its result, or its state so far',
        tags: ['jobs'],
        params: jobParams,
        querystring: waitQuery,
        response: { 200: jobResult, ...refusals(400, 404) },
      },
    },
    async (request, reply) => {
      const id = ownId(request.params.id);
      const view = await jobs.get(callerOf(request), id, request.query.wait * 1000);
      return sendJson(reply, 200, view.json);
    },
  );

  server.delete(
    '/v1/jobs/:id',
    {
      config: { scope: 'exec:cancel', tool: 'job_cancel' },
      schema: {
        summary: 'Cancel a job',
        description:
          'Answers 200 with the result of a job that is done, 202 for one whose end was asked for. Doing it again changes nothing.',
        tags: ['jobs'],
        params: jobParams,
        response: { 200: jobResult, 202: jobResult, ...refusals(404) },
      },
    },
    async (request, reply) => {
      const view = await jobs.cancel(callerOf(request), ownId(request.params.id));
      return sendJson(reply, view.isDone ? 200 : 202, view.json);
    },
  );
}
