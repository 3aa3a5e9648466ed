import { readdirSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Server } from '../../../services/api/routes/server-types.ts';
import { buildServer } from '../../../services/api/server.ts';
import { createMetrics } from '../../../shared/metrics.ts';
import { silent } from '../../shared/queue/redis.ts';

const FOLDER = path.resolve(import.meta.dirname, '../../../services/api/routes');

/** Whatever a route is made of: nothing of it is asked before a request comes. */
const anything: unknown = new Proxy(() => {}, {
  get: (_, name) => (name === Symbol.toPrimitive ? () => 'anything' : anything),
  apply: () => anything,
});
const sizes: Readonly<Record<string, number>> = { maxBlobBytes: 1, maxLineBytes: 1 };
const parts = new Proxy(sizes, { get: (known, name) => known[String(name)] ?? anything });

/** `GET /v1/jobs` → its scope, `any key`, or `public`; of every route that a file of the folder adds. */
async function scopesOfRoutes(): Promise<Map<string, string>> {
  const modules = await Promise.all(
    readdirSync(FOLDER).map(async (file) => Object.entries(await import(path.join(FOLDER, file)))),
  );
  const found = new Map<string, string>();
  const server = await buildServer({
    decide: async () => {},
    maxBodyBytes: 1,
    maxTenantRequests: 1_000,
    authenticate: () => Promise.reject(new Error('nobody calls')),
    metrics: createMetrics(),
    version: '0.0.0',
    log: silent,
    addRoutes(scope) {
      scope.addHook('onRoute', ({ method, url, config }) => {
        const { isPublic, scope: needed } = config ?? {};
        found.set(`${method} ${url}`, isPublic ? 'public' : (needed ?? 'any key'));
      });
      for (const [name, add] of modules.flat()) {
        if (name.endsWith('Routes'))
          (add as (server: Server, parts: unknown) => void)(scope, parts);
      }
    },
  });
  await server.ready();
  await server.close();
  return found;
}

describe('the routes', () => {
  let scopes: Map<string, string>;
  beforeAll(async () => {
    scopes = await scopesOfRoutes();
  });

  it.each([
    ['POST /v1/jobs', 'exec:run'],
    ['GET /v1/jobs', 'exec:read'],
    ['GET /v1/jobs/:id', 'exec:read'],
    ['DELETE /v1/jobs/:id', 'exec:cancel'],
    ['GET /v1/jobs/:id/events', 'exec:read'],
    ['GET /v1/jobs/:id/artifacts/*', 'exec:read'],
    ['GET /v1/jobs/:id/artifacts.tar', 'exec:read'],
    ['POST /v1/batches', 'exec:batch'],
    ['GET /v1/batches/:id', 'exec:read'],
    ['GET /v1/batches/:id/results', 'exec:read'],
    ['GET /v1/batches/:id/events', 'exec:read'],
    ['DELETE /v1/batches/:id', 'exec:cancel'],
    ['PUT /v1/blobs/:blob', 'exec:run'],
    ['HEAD /v1/blobs/:blob', 'exec:read'],
    ['POST /v1/keys', 'admin'],
    ['DELETE /v1/keys/:id', 'admin'],
    ['PUT /v1/tenants/:name', 'admin'],
  ])('%s needs the scope %s', (route, scope) => {
    expect(scopes.get(route)).toBe(scope);
  });

  it('are public or need a scope, all but those that say who may do what', () => {
    const without = (what: string): string[] =>
      [...scopes].flatMap(([route, scope]) => (scope === what ? [route] : [])).sort();
    expect(without('any key')).toEqual(['GET /v1/info', 'HEAD /v1/info']);
    expect(without('public')).toEqual([
      'GET /healthz',
      'GET /metrics',
      'GET /openapi.json',
      'GET /readyz',
      'HEAD /healthz',
      'HEAD /metrics',
      'HEAD /openapi.json',
      'HEAD /readyz',
    ]);
  });

  it('that answer HEAD beside GET need the same of it', () => {
    for (const [route, scope] of scopes) {
      const head = scopes.get(route.replace(/^GET/, 'HEAD'));
      if (route.startsWith('GET ')) expect([route, head]).toEqual([route, scope]);
    }
  });
});
