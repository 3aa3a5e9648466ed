/** /v1/tenants: administrators list, set and remove tenants. */
import { z } from 'zod';
import {
  tenantList,
  tenantName,
  tenantSettings,
  tenantView,
} from '../../../shared/contract/tenant.ts';
import { AppError } from '../../../shared/errors.ts';
import type { AdministrativeAct } from '../auth.ts';
import type { LiveTenants } from '../tenants.ts';
import { callerOf, refusals, type Server } from './server-types.ts';

const config = { scope: 'admin' } as const;
const anyName = z.strictObject({ name: z.string() });

export function tenantRoutes(
  server: Server,
  { tenants, onAct }: { tenants: LiveTenants; onAct?: (act: AdministrativeAct) => void },
): void {
  server.get(
    '/v1/tenants',
    {
      config,
      schema: {
        summary: 'List tenants, by name',
        tags: ['tenants'],
        response: { 200: tenantList, ...refusals() },
      },
    },
    async () => ({ tenants: await tenants.list() }),
  );

  server.get(
    '/v1/tenants/:name',
    {
      config,
      schema: {
        summary: 'One tenant',
        tags: ['tenants'],
        params: anyName,
        response: { 200: tenantView, ...refusals(404) },
      },
    },
    async (request) => {
      const all = await tenants.list();
      const found = all.find(({ name }) => name === request.params.name);
      if (found === undefined) throw new AppError('NOT_FOUND');
      return found;
    },
  );

  server.put(
    '/v1/tenants/:name',
    {
      config,
      schema: {
        summary: 'Make a tenant, or set it anew',
        description:
          'As a whole: what is left out is as it is by default. In force on every process within a second. 201 when it is new.',
        tags: ['tenants'],
        params: z.strictObject({ name: tenantName }),
        body: tenantSettings,
        response: { 200: tenantView, 201: tenantView, ...refusals(400, 409, 413, 415) },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { isNew, view } = await tenants.set(name, request.body);
      onAct?.({ actor: callerOf(request), act: 'tenant.set', subject: name, detail: request.body });
      return reply.status(isNew ? 201 : 200).send(view);
    },
  );

  server.delete(
    '/v1/tenants/:name',
    {
      config,
      schema: {
        summary: 'Remove a tenant and revoke its keys',
        description:
          'Its jobs end as they would have; their results are kept as long as they were to be.',
        tags: ['tenants'],
        params: anyName,
        response: { 204: z.unknown().describe('It is removed.'), ...refusals(404, 409) },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      await tenants.remove(name);
      onAct?.({ actor: callerOf(request), act: 'tenant.remove', subject: name, detail: {} });
      return reply.status(204).send();
    },
  );
}
