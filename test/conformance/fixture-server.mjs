/** The product's endpoint in a server of its own, with the suite's tools behind it in place of ours. */
import { mountEndpoint } from '../../dist/services/api/mcp/endpoint.js';
import { buildServer } from '../../dist/services/api/server.js';
import { AppError } from '../../dist/shared/errors.js';
import { createLog } from '../../dist/shared/log.js';
import { createMetrics } from '../../dist/shared/metrics.js';
import { createFixtures } from './fixtures.mjs';

const KEY = 'a key for the conformance suite alone';
const CALLER = {
  tenant: 'default',
  grant: 'suite',
  name: 'suite',
  scopes: new Set(),
  session: null,
};

export async function startFixtureServer(origin) {
  const log = createLog('silent');
  const authenticate = async (authorization) => {
    if (authorization !== `Bearer ${KEY}`) throw new AppError('UNAUTHENTICATED');
    return CALLER;
  };
  const server = await buildServer({
    maxBodyBytes: 1024 * 1024,
    authenticate,
    decide: async () => {},
    metrics: createMetrics(),
    version: '1',
    log,
    addRoutes: (scope) =>
      mountEndpoint(scope, {
        listensOn: '127.0.0.1',
        allowedHosts: [],
        allowedOrigins: [origin],
        publicUrl: undefined,
        oauthIssuer: undefined,
        authenticate,
        create: createFixtures,
        log,
      }),
  });
  const url = await server.listen({ host: '127.0.0.1', port: 0 });
  return { url, key: KEY, stop: () => server.close() };
}
