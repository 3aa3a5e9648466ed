/** /v1/jobs/:id/events: what happens to a job, as it happens. */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { eventId, outputEvent, stateEvent } from '../../../shared/contract/event.ts';
import { jobResult } from '../../../shared/contract/result.ts';
import type { Log } from '../../../shared/log.ts';
import { jobEvents, requireOwnJob } from '../events/follow.ts';
import type { EventStreams } from '../sse.ts';
import { callerOf, refusals, type Server } from './server-types.ts';

const resumeHeaders = z.looseObject({
  'last-event-id': eventId
    .optional()
    .describe('The id of the last event that was received: the stream goes on behind it.'),
});

const events = z
  .union([stateEvent, outputEvent, jobResult])
  .describe('The data of one event, by its name: `state`, `output`, `result`.');

export function eventRoutes(
  server: Server,
  { redis, streams, log }: { redis: Redis; streams: EventStreams; log: Log },
): void {
  server.get(
    '/v1/jobs/:id/events',
    {
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
}
