/** A server with the routes of administrators alone, on a Redis of its own, and what they reported as acts. */
import { type ApiKeys, createApiKeys } from '../../../services/api/api-keys.ts';
import { type AdministrativeAct, createAuthenticate } from '../../../services/api/auth.ts';
import { keyRoutes } from '../../../services/api/routes/keys.ts';
import { tenantRoutes } from '../../../services/api/routes/tenants.ts';
import { buildServer } from '../../../services/api/server.ts';
import { createTenants } from '../../../services/api/tenants.ts';
import { readTenants } from '../../../shared/config/tenants.ts';
import type { Scope } from '../../../shared/contract/policy.ts';
import { createMetrics } from '../../../shared/metrics.ts';
import { silent, type TestRedis } from '../../shared/queue/redis.ts';

const SERVER_KEY = 's'.repeat(40);

export type Administered = Awaited<ReturnType<typeof startAdministered>>;

export async function startAdministered(store: TestRedis) {
  const redis = await store.connect('request');
  const fixed = readTenants(undefined, 100);
  const tenants = createTenants({ redis, fixed, maxOpenJobs: 100, log: silent });
  await tenants.start();
  const apiKeys: ApiKeys = createApiKeys({ redis, tenants, log: silent });
  const acts: AdministrativeAct[] = [];
  const onAct = (act: AdministrativeAct): void => void acts.push(act);
  const server = await buildServer({
    decide: async () => {},
    maxBodyBytes: 10_000,
    maxTenantRequests: 1_000,
    authenticate: createAuthenticate({ key: SERVER_KEY, tenants: fixed, apiKeys }),
    metrics: createMetrics(),
    version: '0.0.0',
    log: silent,
    addRoutes(scope) {
      keyRoutes(scope, { apiKeys, onAct });
      tenantRoutes(scope, { tenants, onAct });
      scope.get('/runs', { config: { scope: 'exec:run' } }, async ({ caller }) => ({ caller }));
      scope.get('/any', async ({ caller }) => ({ session: caller?.session }));
    },
  });
  await server.ready();
  return {
    server,
    acts,
    /** By the server's own key, unless another is given. */
    send: (
      method: 'GET' | 'POST' | 'PUT' | 'DELETE',
      url: string,
      payload?: object,
      { key = SERVER_KEY, headers = {} }: { key?: string; headers?: Record<string, string> } = {},
    ) =>
      server.inject({
        method,
        url,
        headers: { authorization: `Bearer ${key}`, ...headers },
        ...(payload === undefined ? {} : { payload }),
      }),
    async keyWith(...scopes: Scope[]): Promise<string> {
      const wanted = { tenant: 'default', name: 'test', scopes, expiresAt: null };
      return (await apiKeys.make(wanted)).key;
    },
    async stop(): Promise<void> {
      tenants.stop();
      await server.close();
    },
  };
}
