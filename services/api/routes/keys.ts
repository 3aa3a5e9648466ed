/** /v1/keys: administrators make, list and revoke API keys. */
import { z } from 'zod';
import { apiKeyList, apiKeyView, madeApiKey, newApiKey } from '../../../shared/contract/api-key.ts';
import { tenantName } from '../../../shared/contract/tenant.ts';
import { AppError } from '../../../shared/errors.ts';
import type { ApiKeys } from '../api-keys.ts';
import type { AdministrativeAct } from '../auth.ts';
import { callerOf, refusals, type Server } from './server-types.ts';

const KEY_ID = /^[0-9a-f]{16}$/;
const config = { scope: 'admin' } as const;

export function keyRoutes(
  server: Server,
  { apiKeys, onAct }: { apiKeys: ApiKeys; onAct?: (act: AdministrativeAct) => void },
): void {
  server.post(
    '/v1/keys',
    {
      config,
      schema: {
        summary: 'Make an API key',
        description: 'The answer holds the key, this once: what is kept of it is a digest.',
        tags: ['keys'],
        body: newApiKey,
        response: { 201: madeApiKey, ...refusals(400, 413, 415, 422) },
      },
    },
    async (request, reply) => {
      const made = await apiKeys.make(request.body);
      const { id, key: _, ...detail } = made;
      onAct?.({ actor: callerOf(request), act: 'key.make', subject: id, detail });
      return reply.status(201).header('Cache-Control', 'no-store').send(made);
    },
  );

  server.get(
    '/v1/keys',
    {
      config,
      schema: {
        summary: 'List API keys, the newest first',
        tags: ['keys'],
        querystring: z.strictObject({
          tenant: tenantName.optional().describe('Only those of this tenant.'),
        }),
        response: { 200: apiKeyList, ...refusals(400) },
      },
    },
    async (request) => ({ keys: await apiKeys.list(request.query.tenant) }),
  );

  server.delete(
    '/v1/keys/:id',
    {
      config,
      schema: {
        summary: 'Revoke an API key',
        description:
          'In force on every process within a second. Doing it again changes nothing; the key stays listed for 30 days.',
        tags: ['keys'],
        params: z.strictObject({ id: z.string() }),
        response: { 200: apiKeyView, ...refusals(404) },
      },
    },
    async (request) => {
      const { id } = request.params;
      // An id of another form is answered like one that does not exist.
      if (!KEY_ID.test(id)) throw new AppError('NOT_FOUND');
      const revoked = await apiKeys.revoke(id);
      const { tenant, name } = revoked;
      onAct?.({
        actor: callerOf(request),
        act: 'key.revoke',
        subject: id,
        detail: { tenant, name },
      });
      return revoked;
    },
  );
}
