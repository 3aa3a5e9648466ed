/** /v1/jobs/:id/events and /v1/batches/:id/events: what happens to a job or a batch, as it happens. */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import {
  batchEvent,
  batchJobEvent,
  eventId,
  outputEvent,
  stateEvent,
} from '../../../shared/contract/event.ts';
import { jobResult } from '../../../shared/contract/result.ts';
import type { Log } from '../../../shared/log.ts';
import { batchEvents } from '../batch-events.ts';
import { type BatchResults, parseCursor } from '../batch-results.ts';
import type { Batches } from '../batches.ts';
import { jobEvents, requireOwnJob } from '../events/follow.ts';
import type { EventStreams } from '../sse.ts';
import { batchParams, callerOf, parseBatchId, refusals, type Server } from './server-types.ts';

const resumeHeaders = z.looseObject({
  'last-event-id': eventId
    .optional()
    .describe('The id of the last event that was received: the stream goes on behind it.'),
});

const events = z
  .union([stateEvent, outputEvent, jobResult])
  .describe('The data of one event, by its name: `state`, `output`, `result`.');

const batchEventsData = z
  .union([batchEvent, batchJobEvent])
  .describe('The data of one event, by its name: `batch`, `job`.');

export function eventRoutes(
  server: Server,
  parts: {
    redis: Redis;
    streams: EventStreams;
    batches: Batches;
    results: BatchResults;
    log: Log;
  },
): void {
  const { redis, streams, batches, results, log } = parts;
  server.get(
    '/v1/jobs/:id/events',
    {
      config: { scope: 'exec:read', tool: 'job_output' },
      schema: {
        summary: 'Follow a job',
        description:
          'Server-sent events: `state` changes, `output` as it is written, and last of all the `result`, after which the stream ends. A stream that ends without it is taken up again with Last-Event-ID.',
        tags: ['jobs'],
        params: z.strictObject({ id: z.string() }),
        headers: resumeHeaders,
        response: {
          200: {
            description: 'A stream of events.',
            content: { 'text/event-stream': { schema: events } },
          },
          ...refusals(400, 404),
        },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      await requireOwnJob(redis, callerOf(request), id);
      const from = request.headers['last-event-id'];
      return streams.send(reply, (signal) => jobEvents({ redis, id, from, signal, log }));
    },
  );

  server.get(
    '/v1/batches/:id/events',
    {
      config: { scope: 'exec:read', tool: 'job_output' },
      schema: {
        summary: 'Follow a batch',
        description:
          'Server-sent events: `job` for each job that ends, in that order, and `batch` with the counts; after the last of them the stream ends. It is taken up again with Last-Event-ID.',
        tags: ['batches'],
        params: batchParams,
        headers: z.looseObject({ 'last-event-id': z.string().max(64).optional() }),
        response: {
          200: {
            description: 'A stream of events.',
            content: { 'text/event-stream': { schema: batchEventsData } },
          },
          ...refusals(400, 404),
        },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const id = parseBatchId(request.params.id);
      await batches.own(caller, id);
      // A client that heard of no end yet sends an empty one.
      const from = request.headers['last-event-id'] || undefined;
      if (from !== undefined) parseCursor(id, from, 'Last-Event-ID');
      return streams.send(reply, (signal) =>
        batchEvents({ redis, batches, results, caller, id, from, signal }),
      );
    },
  );
}
