/**
 * /mcp: Streamable HTTP without sessions. The library speaks the protocol, of 2026-07-28 and of the revisions before;
 * who may call, from where, and how large a message may be is decided here, before it sees anything.
 */
import { isUtf8 } from 'node:buffer';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createMcpHandler,
  type McpHttpHandler,
  type McpServerFactory,
} from '@modelcontextprotocol/server';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { SCOPES } from '../../../shared/contract/policy.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { Authenticate, Caller } from '../auth.ts';
import { isTooDeep, MAX_JSON_DEPTH } from '../json-depth.ts';
import { endWithKey } from '../key-watch.ts';
import { callerOf, type Server } from '../routes/server-types.ts';
import {
  type Connections,
  createConnections,
  isInitialize,
  newSessionId,
  SESSION_HEADER,
} from './connections.ts';
import { createGuard, type Guard, type GuardOptions } from './guard.ts';
import { createMcpServer } from './mcp-server.ts';
import type { McpParts } from './parts.ts';
import { createTools } from './tools.ts';

const METADATA_PATH = '/.well-known/oauth-protected-resource';
/** So long calls under way may take to be answered when the server stops: their waits are over by then. */
const ANSWERED_WITHIN_MS = 2_000;
const PARSE_ERROR = -32_700;
const INVALID_REQUEST = -32_600;

export interface EndpointOptions extends GuardOptions {
  readonly authenticate: Authenticate;
  readonly oauthIssuer: string | undefined;
}

export function mcpRoutes(server: Server, parts: McpParts, options: EndpointOptions): void {
  const tools = createTools(parts);
  const create: CreateServer = (caller) => createMcpServer(parts, tools, caller);
  mountEndpoint(server, { ...options, create, log: parts.log });
}

/** What a caller is answered by, made for each request. */
type CreateServer = (caller: Caller) => ReturnType<McpServerFactory>;

/** Mounted in a scope of its own: its bodies are read, and its callers known, in another way than elsewhere. */
export function mountEndpoint(
  server: Server,
  options: EndpointOptions & { readonly create: CreateServer; readonly log: Log },
): void {
  const guard = createGuard(options);
  if (options.oauthIssuer !== undefined) metadataRoutes(server, guard, options);
  server.register(async (scope) => {
    readBodiesAsTheyAre(scope as Server);
    admitCallers(scope as Server, guard, options);
    serve(scope as Server, guard, options);
  });
}

/** A body that is no JSON is answered in the words of the protocol. */
function readBodiesAsTheyAre(scope: Server): void {
  const parse = scope.getDefaultJsonParser('error', 'error');
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    (request, bytes: Buffer, done) => {
      if (bytes.length === 0) return done(null, undefined);
      if (!isUtf8(bytes)) return done(null, BROKEN);
      parse(request, bytes.toString('utf8'), (error, body) => done(null, error ? BROKEN : body));
    },
  );
}

const BROKEN = Symbol('a body that is not JSON');

function admitCallers(scope: Server, guard: Guard, options: EndpointOptions): void {
  const { authenticate, oauthIssuer } = options;
  scope.addHook('onRequest', async (request, reply) => {
    const { host, origin, authorization, 'cofferdam-session': session } = request.headers;
    guard.require({ host, origin });
    if (origin !== undefined) allowOrigin(reply, origin);
    if (request.method === 'OPTIONS') return;
    request.caller = await authenticate(authorization, session);
    endWithKey(reply, () => authenticate(authorization));
  });
  if (oauthIssuer === undefined) return;
  scope.addHook('onSend', async (request, reply) => {
    if (reply.statusCode !== 401) return;
    const url = `${baseUrl(request, options)}${METADATA_PATH}/mcp`;
    void reply.header('WWW-Authenticate', `Bearer resource_metadata="${url}"`);
  });
}

const allowOrigin = (reply: FastifyReply, origin: string): void => {
  void reply.headers({
    'Access-Control-Allow-Origin': origin,
    'Access-Control-Expose-Headers': `${SESSION_HEADER}, WWW-Authenticate`,
    Vary: 'Origin',
  });
};

const PREFLIGHT = {
  'Access-Control-Allow-Methods': 'POST, OPTIONS',
  'Access-Control-Allow-Headers':
    'Authorization, Content-Type, Accept, Cofferdam-Session, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Last-Event-ID',
  'Access-Control-Max-Age': '600',
} as const;

function serve(
  scope: Server,
  guard: Guard,
  { create, log }: { create: CreateServer; log: Log },
): void {
  const handler = createMcpHandler(({ authInfo }) => create(authInfo?.extra?.caller as Caller), {
    onerror: (error) => log.debug({ err: error }, 'mcp'),
  });
  const connections = createConnections();
  const underWay = new Set<Promise<unknown>>();
  scope.addHook('preClose', async () => {
    await Promise.race([Promise.allSettled(underWay), sleep(ANSWERED_WITHIN_MS)]);
    await handler.close();
  });
  // The caller is made known above, once it is certain where the request comes from.
  const config = { isPublic: true };
  const schema = { hide: true };
  scope.route({
    method: ['GET', 'POST', 'DELETE'],
    url: '/mcp',
    // The framework's own form of HEAD cannot measure what the library answers with.
    exposeHeadRoute: false,
    config,
    schema,
    async handler(request, reply) {
      const answering = answer({ request, reply, handler, connections });
      underWay.add(answering);
      return answering.finally(() => underWay.delete(answering));
    },
  });
  scope.options('/mcp', { config, schema }, async (request, reply) => {
    if (request.headers.origin !== undefined && guard.isAllowedOrigin(request.headers.origin)) {
      void reply.headers(PREFLIGHT);
    }
    return reply.status(204).send();
  });
}

async function answer(exchange: {
  request: FastifyRequest;
  reply: FastifyReply;
  handler: McpHttpHandler;
  connections: Connections;
}): Promise<FastifyReply> {
  const { request, reply, handler, connections } = exchange;
  const { body } = request;
  if (body === BROKEN) return refuse(reply, PARSE_ERROR, 'Parse error: expected JSON in UTF-8');
  if (isTooDeep(body)) {
    const most = `expected JSON nested at most ${MAX_JSON_DEPTH} deep`;
    return refuse(reply, INVALID_REQUEST, `Invalid request: ${most}`);
  }
  // One request could carry any number of calls; newer revisions know no lists.
  if (Array.isArray(body)) {
    return refuse(reply, INVALID_REQUEST, 'Invalid request: expected one message, came a list');
  }
  const caller = callerOf(request);
  const message = isMessage(body) ? body : {};
  const session = headerOf(request, SESSION_HEADER);
  const leaving = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) leaving.abort();
  });
  connections.heard({ caller, session }, message);
  const call = connections.began({ caller, session }, message, () => leaving.abort());
  reply.raw.once('close', call.done);
  const response = await handler.fetch(webRequest(request, leaving.signal), {
    authInfo: authInfoOf(caller),
    ...(body === undefined ? {} : { parsedBody: body }),
  });
  if (isInitialize(message) && response.ok) void reply.header(SESSION_HEADER, newSessionId());
  return reply.send(response);
}

const isMessage = (body: unknown): body is Record<string, unknown> =>
  typeof body === 'object' && body !== null;

const refuse = (reply: FastifyReply, code: number, message: string): FastifyReply =>
  reply
    .status(400)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message } }));

const headerOf = (request: FastifyRequest, name: string): string | undefined => {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
};

/** Without its body, which was read already, and without the key, which nothing behind this needs. */
function webRequest(request: FastifyRequest, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value === undefined || name === 'authorization' || name === 'content-length') continue;
    headers.set(name, Array.isArray(value) ? value.join(', ') : value);
  }
  return new Request(`http://${request.headers.host}/mcp`, {
    method: request.method,
    headers,
    signal,
  });
}

const FAR_SECONDS = 3_600;

const authInfoOf = (caller: Caller) => ({
  token: 'withheld',
  clientId: caller.grant,
  scopes: [...caller.scopes],
  // Without it the library takes the caller for one whose key expired.
  expiresAt: Math.floor(Date.now() / 1000) + FAR_SECONDS,
  extra: { caller },
});

/** RFC 9728: which authorization server gives keys for this resource. */
function metadataRoutes(server: Server, guard: Guard, options: EndpointOptions): void {
  const { oauthIssuer = '' } = options;
  for (const url of [METADATA_PATH, `${METADATA_PATH}/mcp`]) {
    server.get(url, { config: { isPublic: true }, schema: { hide: true } }, async (request) => {
      guard.require({ host: request.headers.host });
      return {
        resource: `${baseUrl(request, options)}/mcp`,
        authorization_servers: [oauthIssuer],
        scopes_supported: SCOPES,
        bearer_methods_supported: ['header'],
        resource_name: 'Cofferdam',
      };
    });
  }
}

function baseUrl(request: FastifyRequest, { publicUrl }: EndpointOptions): string {
  if (publicUrl !== undefined) return publicUrl.replace(/\/+$/, '');
  const { host } = request.headers;
  if (host === undefined) throw new AppError('ORIGIN_REFUSED', { field: 'Host' });
  return `http://${host}`;
}
