/**
 * One caller's view of the server in the words of the protocol: made for each request (HTTP keeps no connection), so it
 * holds nothing but its caller. The library's lower interface is used because the tables of tools stand ready: the
 * higher one would convert every schema again for each request, and answer bad arguments in words of its own.
 */
import {
  type CallToolResult,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  type ServerContext,
} from '@modelcontextprotocol/server';
import type { Tool } from '../../../shared/contract/policy.ts';
import { AppError } from '../../../shared/errors.ts';
import { type Caller, parseSession, requireScope } from '../auth.ts';
import { appErrorOf } from '../http-error.ts';
import type { McpParts } from './parts.ts';
import { refusalLine } from './refusal.ts';
import { listResources, RESOURCE_TEMPLATES, readResource } from './resources.ts';
import type { McpTool, Notify } from './tool.ts';
import { hasScope, type ToolTable } from './tools.ts';

const SESSION_META = 'cofferdam/session';

const INSTRUCTIONS =
  'Runs untrusted commands in sandboxes without network, each in a fresh container with limits. Use exec for one command, exec_batch for many; sandbox_info names images and limits. Read `outcome` and `fault`: a non-zero exit code is the program’s own answer, anything else is not.';

export function createMcpServer(parts: McpParts, tools: ToolTable, caller: Caller): Server {
  const server = new Server(
    { name: 'cofferdam', title: 'Cofferdam', version: parts.version },
    { capabilities: { tools: {}, resources: {} }, instructions: INSTRUCTIONS },
  );
  const isSeen = (tool: McpTool): boolean =>
    hasScope(tool, caller) && !parts.isHidden(tool.name, caller);

  server.setRequestHandler('tools/list', () => ({
    tools: [...tools.values()].filter(isSeen).map(listed),
  }));

  server.setRequestHandler('tools/call', async ({ params }, context) => {
    const tool = tools.get(params.name as Tool);
    if (tool === undefined || parts.isHidden(tool.name, caller)) {
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown tool: ${params.name}`);
    }
    return callTool(parts, tool, { caller, args: params.arguments ?? {}, context });
  });

  server.setRequestHandler('resources/templates/list', () => ({
    resourceTemplates: RESOURCE_TEMPLATES,
  }));

  server.setRequestHandler('resources/list', async ({ params }, context) => {
    if (!caller.scopes.has('exec:read')) return { resources: [] };
    return asProtocol(() => {
      const session = sessionOf(caller, context);
      return listResources(parts, { ...caller, session }, params?.cursor);
    });
  });

  server.setRequestHandler('resources/read', async ({ params }, context) =>
    asProtocol(() => {
      requireScope(caller, 'exec:read');
      const session = sessionOf(caller, context);
      const { signal } = context.mcpReq;
      return readResource(parts, params.uri, { caller: { ...caller, session }, signal });
    }),
  );
  return server;
}

const listed = ({ name, title, description, hints, inputSchema, outputSchema }: McpTool) => ({
  name,
  title,
  description,
  annotations: { title, ...hints },
  inputSchema,
  outputSchema,
});

/** Every refusal is an answer that a model reads, and not an error of the protocol, which it may never see. */
async function callTool(
  parts: McpParts,
  tool: McpTool,
  call: { caller: Caller; args: Record<string, unknown>; context: ServerContext },
): Promise<CallToolResult> {
  const { args, context } = call;
  try {
    const caller = { ...call.caller, session: sessionOf(call.caller, context) };
    if (!hasScope(tool, caller)) requireScope(caller, tool.scopes[0] ?? 'exec:run');
    if (tool.isJudgedHere) {
      await parts.decide({ tool: tool.name, caller, args, nowMs: Date.now() });
    }
    const { signal } = context.mcpReq;
    const answer = await tool.call(args, { caller, signal, notify: notifyOf(context) });
    return {
      content: [{ type: 'text', text: answer.text }],
      structuredContent: answer.structured,
      isError: answer.isError,
    };
  } catch (thrown) {
    const error = appErrorOf(thrown);
    if (error.row.status >= 500) parts.log.error({ err: thrown, tool: tool.name }, 'tool failed');
    return {
      content: [{ type: 'text', text: refusalLine(tool.name, error) }],
      ...(tool.refused === undefined ? {} : { structuredContent: tool.refused(error) }),
      isError: true,
    };
  }
}

/** A name in the call stands above the header: a client of many agents has one connection. */
const sessionOf = (caller: Caller, { mcpReq }: ServerContext): string | null => {
  const named = mcpReq._meta?.[SESSION_META];
  if (named === undefined) return caller.session;
  if (typeof named !== 'string') {
    const detail = `_meta.${SESSION_META}: expected text; came ${typeof named}`;
    throw new AppError('REQUEST_INVALID', { field: `_meta.${SESSION_META}`, detail });
  }
  return parseSession(named, `_meta.${SESSION_META}`);
};

function notifyOf({ mcpReq }: ServerContext): Notify | undefined {
  const progressToken = mcpReq._meta?.progressToken;
  if (progressToken === undefined) return undefined;
  let progress = 0;
  return (message) => {
    if (mcpReq.signal.aborted) return;
    progress++;
    const params = { progressToken, progress, message };
    // A client that is gone is heard of by the signal.
    mcpReq.notify({ method: 'notifications/progress', params }).catch(() => {});
  };
}

const RESOURCE_FAILED = -32_603;

/** Resources have no other way to be refused. */
async function asProtocol<T>(act: () => T | Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (thrown) {
    if (thrown instanceof ProtocolError) throw thrown;
    const error = appErrorOf(thrown);
    const code = error.row.status >= 500 ? RESOURCE_FAILED : ProtocolErrorCode.InvalidParams;
    throw new ProtocolError(code, refusalLine('resource', error));
  }
}
