import net from 'node:net';
import { afterEach, expect, it } from 'vitest';
import type { Call } from '../../services/api/policy/call.ts';
import { callerOf, type Server } from '../../services/api/routes/server-types.ts';
import { buildServer } from '../../services/api/server.ts';
import { AppError } from '../../shared/errors.ts';
import { createMetrics } from '../../shared/metrics.ts';
import { silent } from '../shared/queue/redis.ts';
import { callerOfTenant } from './caller.ts';

const open: Server[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

/** With a key that is in force for as long as `isInForce` says. */
async function serve(isInForce = () => true) {
  const calls: Call[] = [];
  const server = await buildServer({
    maxBodyBytes: 1_000_000,
    maxTenantRequests: 1_000,
    authenticate: async () => {
      if (!isInForce()) throw new AppError('UNAUTHENTICATED');
      return callerOfTenant('ann');
    },
    decide: async (call) => void calls.push(call),
    metrics: createMetrics(),
    version: '0.0.0',
    log: silent,
    addRoutes(scope) {
      scope.get('/jobs/:id', { config: { tool: 'job_get' } }, async () => ({}));
      scope.post('/json', async () => ({}));
      scope.get('/endless', async (request, reply) => {
        callerOf(request);
        reply.hijack();
        reply.raw.writeHead(200).write('begun');
      });
    },
  });
  open.push(server);
  await server.ready();
  return { server, calls };
}

it('shows a policy the id of the path, whatever the query names', async () => {
  const { server, calls } = await serve();
  await server.inject({ method: 'GET', url: '/jobs/mine?id=harmless&wait=1' });
  expect(calls).toMatchObject([{ tool: 'job_get', args: { id: 'mine', wait: '1' } }]);
});

it('refuses JSON that is nested so deep that looking into it would fail', async () => {
  const { server } = await serve();
  const payload = `{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
  const headers = { 'content-type': 'application/json' };
  const answer = await server.inject({ method: 'POST', url: '/json', headers, payload });
  expect(answer.statusCode).toBe(400);
  expect(answer.json()).toMatchObject({ code: 'REQUEST_INVALID' });
});

it('cuts an answer that lasts when its key is not in force any more, and not before', async () => {
  let isInForce = true;
  let asked = 0;
  const { server } = await serve(() => {
    asked++;
    return isInForce;
  });
  await server.listen({ host: '127.0.0.1', port: 0 });
  const { port } = server.server.address() as net.AddressInfo;
  const socket = net.connect(port, '127.0.0.1');
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => {});
  socket.write('GET /endless HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key\r\n\r\n');
  await new Promise((resolve) => socket.once('data', resolve));
  while (asked < 3) await new Promise((resolve) => setTimeout(resolve, 50));
  expect(socket.destroyed).toBe(false);
  isInForce = false;
  await ended;
  const askedAtEnd = asked;
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(asked).toBe(askedAtEnd);
});
