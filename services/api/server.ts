/** The HTTP server without its socket: limits, parsing, authentication, errors, documents; the routes are elsewhere. */
import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import swagger from '@fastify/swagger';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyRequest,
  type FastifyServerOptions,
  LogController,
} from 'fastify';
import { jsonSchemaTransform } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { seconds } from '../../shared/metrics.ts';
import { milestone } from '../../shared/milestones.ts';
import { type Authenticate, requireScope } from './auth.ts';
import { createHeldRequests } from './held-requests.ts';
import { problemOf, requestInvalid, sendError } from './http-error.ts';
import { HTTP_LIMITS } from './http-limits.ts';
import { isTooDeep, tooDeep } from './json-depth.ts';
import { endWithKey } from './key-watch.ts';
import { requirePlain } from './plain-requests.ts';
import type { Call } from './policy/call.ts';
import type { Server } from './routes/server-types.ts';

const TOO_SLOW = 408;

export interface ServerOptions {
  readonly maxBodyBytes: number;
  readonly maxTenantRequests: number;
  readonly authenticate: Authenticate;
  /** Throws where the policy refuses a call that runs nothing. */
  readonly decide: (call: Call) => Promise<void>;
  readonly metrics: Metrics;
  readonly version: string;
  readonly log: Log;
  readonly addRoutes: (server: Server) => void;
}

const newServer = (options: ServerOptions): Server =>
  Fastify({
    loggerInstance: options.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.maxBodyBytes,
    requestTimeout: 0, // bodies have a limit of their own below: those that stream may take long
    keepAliveTimeout: HTTP_LIMITS.keepAliveMs,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    genReqId: () => randomUUID(),
    routerOptions: { maxParamLength: HTTP_LIMITS.maxParamLength },
    http: {
      maxHeaderSize: HTTP_LIMITS.maxHeaderBytes,
      headersTimeout: HTTP_LIMITS.headersTimeoutMs,
      connectionsCheckingInterval: HTTP_LIMITS.checkConnectionsMs,
    },
    frameworkErrors: sendError,
    clientErrorHandler: answerBrokenHttp,
  });

export async function buildServer(options: ServerOptions): Promise<Server> {
  let isClosing = false;
  const hold = createHeldRequests(options.maxTenantRequests);
  const server = newServer(options);
  server.server.maxConnections = HTTP_LIMITS.maxConnections;

  readJsonBodies(server);
  limitBodyTime(server);
  server.setValidatorCompiler<z.ZodType>(({ schema }) => (input) => {
    const parsed = schema.safeParse(input);
    return parsed.success ? { value: parsed.data } : { error: requestInvalid(parsed.error, input) };
  });
  // Schemas of answers are for the document; what is sent was made by us.
  server.setSerializerCompiler(() => (answer) => JSON.stringify(answer));
  server.setErrorHandler(sendError);
  server.setNotFoundHandler((request, reply) => {
    sendError(
      new AppError('NOT_FOUND', { detail: `there is no ${request.method} ${pathOf(request)}` }),
      request,
      reply,
    );
  });
  server.addHook('preClose', async () => {
    isClosing = true;
  });

  await describeRoutes(server, options.version);
  measureRequests(server, options.metrics);
  server.decorateRequest('caller', null);
  server.addHook('onRequest', async (request, reply) => {
    void reply.header('X-Request-Id', request.id);
    requirePlain(request);
    if (isClosing) throw new AppError('SHUTTING_DOWN', { retryAfterSeconds: 1 });
    const { isPublic, scope } = request.routeOptions.config;
    if (isPublic) return;
    const { authorization, 'cofferdam-session': session } = request.headers;
    request.caller = await options.authenticate(authorization, session);
    hold(request.caller.tenant, reply);
    endWithKey(reply, () => options.authenticate(authorization));
    if (scope !== undefined) requireScope(request.caller, scope);
  });
  judgeTools(server, options.decide);
  server.addHook('onSend', async (request, reply) => {
    // A connection kept alive past the answer that was under way would hold up the stop.
    if (isClosing) void reply.header('Connection', 'close');
    // The framework would close at once: a client that still sends then meets a reset, and may never read the refusal.
    // But one that was too slow has had its time.
    else if (!request.raw.complete && reply.statusCode !== TOO_SLOW) {
      void reply.removeHeader('Connection');
    }
  });
  server.register(async (scope) => {
    options.addRoutes(scope as Server);
    const hidden = { schema: { hide: true }, config: { isPublic: true } };
    scope.get('/openapi.json', hidden, async () => server.swagger());
  });
  return server;
}

/** Routes that run nothing are tools to the policy as well. */
function judgeTools(server: Server, decide: ServerOptions['decide']): void {
  server.addHook('preHandler', async (request) => {
    const { tool } = request.routeOptions.config;
    if (tool === undefined || request.caller === null) return;
    // The path stands above the query: `?id=` must not be what rules see instead of the id that is used.
    const args = { ...(request.query as object), ...(request.params as object) };
    await decide({ tool, caller: request.caller, args, nowMs: Date.now() });
  });
}

async function describeRoutes(server: Server, version: string): Promise<void> {
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Cofferdam',
        version: version,
        description: 'Runs untrusted commands in ephemeral sandboxes and keeps their results.',
      },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
    transform: jsonSchemaTransform,
  });
}

/** JSON in UTF-8 and nothing else: broken bytes would reach the program as other text than was sent. */
function readJsonBodies(server: Server): void {
  const parse = server.getDefaultJsonParser('error', 'error');
  server.removeAllContentTypeParsers();
  server.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    (request, body: Buffer, done) => {
      // Clients name the type also where there is nothing to send.
      if (body.length === 0 && request.method === 'DELETE') return done(null);
      if (!isUtf8(body)) {
        return done(new AppError('BODY_NOT_JSON', { detail: 'expected UTF-8, came other bytes' }));
      }
      parse(request, body.toString('utf8'), (error, value) =>
        !error && isTooDeep(value) ? done(tooDeep()) : done(error, value),
      );
    },
  );
}

/**
 * A body that is held in memory has to come within a time; one that streams, only without a long pause (ndjson.ts). What
 * nobody reads, because the request was refused before, has as long again: then its connection is cut.
 */
function limitBodyTime(server: Server): void {
  server.addHook('onRequest', async (request, reply) => {
    const { raw } = request;
    const giveUp = (): void => {
      if (raw.complete) return;
      // Whoever reads it answers 408. Without a listener an error would be nobody's, and end the process.
      if (!reply.sent && raw.listenerCount('error') > 0) {
        raw.emit('error', new AppError('REQUEST_TIMEOUT'));
      } else {
        raw.destroy();
      }
    };
    const limit = (): NodeJS.Timeout => setTimeout(giveUp, HTTP_LIMITS.bodyTimeoutMs).unref();
    let timer = request.routeOptions.config.isStream ? undefined : limit();
    reply.raw.once('close', () => {
      clearTimeout(timer);
      if (!raw.complete && !raw.destroyed) timer = limit();
    });
  });
}

const pathOf = (request: FastifyRequest): string => request.url.split('?')[0] ?? '';

function measureRequests(server: Server, metrics: Metrics): void {
  const duration = metrics.histogram(
    'http_request_seconds',
    'Requests, by route and status.',
    seconds.fast,
    ['method', 'route', 'status'],
  );
  server.addHook('onResponse', async (request, reply) => {
    if (request.method === 'POST') milestone('reply_sent');
    const route = request.routeOptions.url ?? 'none';
    duration(reply.elapsedTime / 1000, request.method, route, String(reply.statusCode));
    request.log.debug({ method: request.method, route, status: reply.statusCode }, 'request');
  });
}

/** Bytes that are not HTTP, or that took too long to become a request. */
const answerBrokenHttp: NonNullable<FastifyServerOptions['clientErrorHandler']> = (
  error,
  socket,
) => {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const failure = new AppError(isLate ? 'REQUEST_TIMEOUT' : 'REQUEST_INVALID', {
    ...(isLate ? {} : { detail: 'the bytes are not an HTTP request that this server takes' }),
  });
  const body = JSON.stringify(problemOf(failure, randomUUID()));
  const head = `HTTP/1.1 ${failure.row.status} Refused\r\nConnection: close\r\nContent-Type: application/problem+json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
  socket.end(head + body);
};
