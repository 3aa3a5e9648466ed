/** What the door of MCP answers by itself, before the library hears of anything. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mountEndpoint } from '../../../services/api/mcp/endpoint.ts';
import type { Server } from '../../../services/api/routes/server-types.ts';
import { buildServer } from '../../../services/api/server.ts';
import { createLog } from '../../../shared/log.ts';
import { createMetrics } from '../../../shared/metrics.ts';
import { callerOfTenant } from '../caller.ts';

const log = createLog('silent');
let server: Server;
beforeAll(async () => {
  const authenticate = async () => callerOfTenant('one');
  server = await buildServer({
    decide: async () => {},
    maxBodyBytes: 1_000,
    maxTenantRequests: 1_000,
    authenticate,
    metrics: createMetrics(),
    version: '0.0.0',
    log,
    addRoutes: (scope) =>
      mountEndpoint(scope, {
        authenticate,
        oauthIssuer: undefined,
        publicUrl: undefined,
        listensOn: '127.0.0.1',
        allowedHosts: [],
        allowedOrigins: [],
        create: () => Promise.reject(new Error('expected nobody to ask for a server')),
        log,
      }),
  });
  await server.ready();
});
afterAll(() => server.close());

describe('the endpoint', () => {
  it.each(['HEAD', 'PUT', 'PATCH'] as const)('knows no %s, and fails at none', async (method) => {
    const answer = await server.inject({ method, url: '/mcp', headers: { host: 'localhost' } });
    expect(answer.statusCode).toBe(404);
  });
});
