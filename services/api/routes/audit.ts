/** /v1/audit: what was decided and what administrators did, a page at a time or as it comes; and the heads of chains. */
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { auditHeads, auditPage } from '../../../shared/contract/audit.ts';
import { readAudit, readAuditEnd, readAuditHeads } from '../../../shared/queue/audit.ts';
import type { Seal } from '../../../shared/queue/signature.ts';
import { NDJSON } from './batches.ts';
import { queryInt, refusals, type Server } from './server-types.ts';

const MOST = 1_000;
const LOOK_AGAIN_MS = 500;
/** So often something is sent, whatever happens: what lies between must not take the connection for dead. */
const HEARTBEAT_MS = 15_000;

/** Of a time only its milliseconds are given. */
const position = z
  .string()
  .regex(/^\d{1,15}(-\d{1,19})?$/, 'expected a position, or a time in milliseconds since 1970')
  .transform((text) => (text.includes('-') ? text : `${text}-0`));

const query = z.strictObject({
  after: position
    .optional()
    .describe('The `position` of the last record that was read, or a time in milliseconds.'),
  before: position.optional().describe('Only records before this position or time.'),
  limit: queryInt(1, MOST, 100),
  order: z
    .enum(['oldest', 'newest'])
    .default('oldest')
    .describe('`newest`: the last `limit` records of all, the oldest of them first.'),
  follow: z
    .enum(['true', 'false'])
    .default('false')
    .describe('Go on with records as they come, one a line (NDJSON), without an end.'),
});

const config = { scope: 'admin' } as const;

export function auditRoutes(
  server: Server,
  parts: { redis: Redis; seal: Seal; closing: AbortSignal },
): void {
  const { redis, seal, closing } = parts;
  server.get(
    '/v1/audit',
    {
      config,
      schema: {
        summary: 'Read the audit log',
        description:
          'Records, the oldest first. `next` goes on behind the last of them. See docs/audit.md.',
        tags: ['audit'],
        querystring: query,
        response: { 200: auditPage, ...refusals(400) },
      },
    },
    async (request, reply) => {
      const { after, before, limit: most, order, follow } = request.query;
      if (follow === 'true') {
        const leaving = new AbortController();
        reply.raw.once('close', () => leaving.abort());
        const signal = AbortSignal.any([closing, leaving.signal]);
        const lines = followLines(redis, { after, signal });
        return reply
          .header('Cache-Control', 'no-store')
          .type(`${NDJSON}; charset=utf-8`)
          .send(Readable.from(lines, { objectMode: true, highWaterMark: 1 }) as never);
      }
      const records =
        order === 'newest'
          ? await readAuditEnd(redis, most)
          : await readAudit(redis, { after, before, most });
      const isLast = order === 'newest' || records.length < most;
      return { records, next: isLast ? null : (records.at(-1)?.position ?? null) };
    },
  );

  server.get(
    '/v1/audit/heads',
    {
      config,
      schema: {
        summary: 'The ends of the chains of the audit log',
        description: 'What `cofferdam audit verify` compares the records with.',
        tags: ['audit'],
        response: { 200: auditHeads, ...refusals() },
      },
    },
    async () => ({ heads: await readAuditHeads(redis, seal) }),
  );
}

/** From a position on, or from now; a blank line where nothing came for long. */
async function* followLines(
  redis: Redis,
  { after, signal }: { after: string | undefined; signal: AbortSignal },
): AsyncGenerator<string> {
  let last = after ?? (await readAuditEnd(redis, 1)).at(-1)?.position;
  // At once, so that the client hears that it is connected.
  yield '\n';
  let saidAtMs = Date.now();
  while (!signal.aborted) {
    const records = await readAudit(redis, { after: last, most: 100 });
    last = records.at(-1)?.position ?? last;
    if (records.length > 0) {
      yield records.map((record) => `${JSON.stringify(record)}\n`).join('');
    } else if (Date.now() - saidAtMs > HEARTBEAT_MS) yield '\n';
    else {
      await sleep(LOOK_AGAIN_MS, undefined, { signal }).catch(() => {});
      continue;
    }
    saidAtMs = Date.now();
  }
}
