/** /v1/callbacks: what was given up, sending it again, and what to verify it with. */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { DEFAULT_TENANT } from '../../../shared/config/tenants.ts';
import {
  callbackSecret,
  type DeadCallback,
  deadCallbacks,
} from '../../../shared/contract/callback.ts';
import { AppError } from '../../../shared/errors.ts';
import { readDeadCallbacks, replayCallback } from '../../../shared/queue/callbacks.ts';
import { type AdministrativeAct, type Caller, requireScope } from '../auth.ts';
import type { Signer } from '../callbacks/signer.ts';
import { requireCallbacks } from '../callbacks/target.ts';
import { callerOf, queryInt, refusals, type Server } from './server-types.ts';

const MAX_LISTED = 1_000;
const CALLBACK_ID = /^cb_[\w.:-]{1,200}$/;
/** Went to an address that a caller named; all others, to one of the operator's. */
const OF_CALLERS = ['job.done', 'batch.done'];

/** The path of an operator's receiver may be its secret. */
const shownTo = ({ scopes }: Caller, dead: DeadCallback): DeadCallback =>
  scopes.has('admin') || OF_CALLERS.includes(dead.type)
    ? dead
    : { ...dead, url: new URL(dead.url).origin };

export function callbackRoutes(
  server: Server,
  {
    redis,
    signer,
    onAct,
  }: { redis: Redis; signer: Signer | undefined; onAct: (act: AdministrativeAct) => void },
): void {
  server.get(
    '/v1/callbacks/dead',
    {
      config: { scope: 'exec:read' },
      schema: {
        summary: 'Own callbacks that were given up, the newest first',
        description: 'They are kept for 7 days, and at most 1000 of them.',
        tags: ['callbacks'],
        querystring: z.strictObject({
          limit: queryInt(1, MAX_LISTED, 100).describe(`At most ${MAX_LISTED}.`),
        }),
        response: { 200: deadCallbacks, ...refusals(400, 403) },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const dead = await readDeadCallbacks(redis, caller.tenant, request.query.limit);
      return { callbacks: dead.map((one) => shownTo(caller, one)) };
    },
  );

  server.post(
    '/v1/callbacks/:id/replay',
    {
      config: { scope: 'exec:run' },
      schema: {
        summary: 'Send a callback again that was given up',
        description:
          'Under the same id, with all its attempts before it. Answers before it is sent.',
        tags: ['callbacks'],
        params: z.strictObject({ id: z.string() }),
        response: { 202: z.strictObject({ id: z.string() }), ...refusals(403, 404) },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const actor = callerOf(request);
      const { tenant } = actor;
      const isDue = CALLBACK_ID.test(id) && (await replayCallback(redis, tenant, id));
      if (!isDue) throw new AppError('NOT_FOUND');
      onAct({ actor, act: 'callback.replay', subject: id, detail: {} });
      return reply.status(202).send({ id });
    },
  );

  server.get(
    '/v1/callbacks/secret',
    {
      config: { scope: 'exec:run' },
      schema: {
        summary: 'What your callbacks are verified with',
        description:
          'Of the tenant `default` it is the operator’s own: that needs the scope `admin`.',
        tags: ['callbacks'],
        response: { 200: callbackSecret, ...refusals(403, 422) },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { tenant } = caller;
      // Every other tenant's is derived from it, and notices to approvers are signed with it.
      if (tenant === DEFAULT_TENANT) requireScope(caller, 'admin');
      return { secret: signer?.secretOf(tenant) ?? requireCallbacks(undefined) };
    },
  );
}
