/** The official clients of MCP, of both lines, as connected to one server: over HTTP, or over the stdio of a command. */
import path from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as OlderClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as OlderStdio } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as OlderHttp } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { JobResult } from '../../shared/contract/result.ts';
import { packageRoot } from '../../shared/images.ts';

const WITHIN_MS = 60_000;
const IDENTITY = { name: 'cofferdam-test', version: '1' };

export interface Answer {
  readonly text: string;
  readonly structured: Record<string, unknown>;
  readonly isError: boolean;
}

export interface CallOptions {
  readonly onProgress?: (message: string) => void;
  readonly signal?: AbortSignal;
  readonly meta?: Record<string, unknown>;
}

/** What both lines of clients can do, under one name. Each checks structuredContent by itself. */
export interface McpClient {
  call(name: string, args: Record<string, unknown>, options?: CallOptions): Promise<Answer>;
  tools(): Promise<{ name: string; [more: string]: unknown }[]>;
  templates(): Promise<string[]>;
  resources(): Promise<string[]>;
  read(uri: string): Promise<{ text?: string; blob?: string; mimeType?: string }>;
  close(): Promise<void>;
}

interface Called {
  readonly content?: unknown;
  readonly structuredContent?: unknown;
  readonly isError?: unknown;
}

const answerOf = ({ content, structuredContent, isError }: Called): Answer => ({
  text: (content as { text: string }[])[0]?.text ?? '',
  structured: (structuredContent ?? {}) as Record<string, unknown>,
  isError: isError === true,
});

const optionsOf = ({ onProgress, signal }: CallOptions) => ({
  timeout: WITHIN_MS,
  ...(signal === undefined ? {} : { signal }),
  ...(onProgress === undefined
    ? {}
    : { onprogress: ({ message }: { message?: string | undefined }) => onProgress(message ?? '') }),
});

const common = (client: Client | OlderClient) => ({
  tools: async () => (await (client as Client).listTools()).tools,
  templates: async () =>
    (await (client as Client).listResourceTemplates()).resourceTemplates.map(
      ({ uriTemplate }) => uriTemplate,
    ),
  resources: async () => (await (client as Client).listResources()).resources.map(({ uri }) => uri),
  read: async (uri: string) => {
    const { contents } = await (client as Client).readResource({ uri });
    return contents[0] as { text?: string; blob?: string; mimeType?: string };
  },
  close: () => client.close(),
});

/** Speaks the revision of 2026-07-28. */
async function newer(transport: Transport): Promise<McpClient> {
  const client = new Client(IDENTITY, { versionNegotiation: { mode: { pin: '2026-07-28' } } });
  await client.connect(transport);
  // What an answer is checked against.
  await client.listTools();
  return {
    ...common(client),
    async call(name, args, options = {}) {
      const params = { name, arguments: args, ...metaOf(options) };
      return answerOf(await client.callTool(params, optionsOf(options)));
    },
  };
}

type Transport = Parameters<Client['connect']>[0];

async function older(transport: Parameters<OlderClient['connect']>[0]): Promise<McpClient> {
  const client = new OlderClient(IDENTITY);
  await client.connect(transport);
  await client.listTools();
  return {
    ...common(client),
    async call(name, args, options = {}) {
      const params = { name, arguments: args, ...metaOf(options) };
      return answerOf((await client.callTool(params, undefined, optionsOf(options))) as Called);
    },
  };
}

const metaOf = ({ meta }: CallOptions) => (meta === undefined ? {} : { _meta: meta });

export const LINES = ['v2', 'v1'] as const;
export type Line = (typeof LINES)[number];

export function connectHttp(
  line: Line,
  { url, key, headers = {} }: { url: string; key: string; headers?: Record<string, string> },
): Promise<McpClient> {
  const to = new URL(`${url}/mcp`);
  const options = { requestInit: { headers: { Authorization: `Bearer ${key}`, ...headers } } };
  return line === 'v2'
    ? newer(new StreamableHTTPClientTransport(to, options))
    : older(new OlderHttp(to, options) as Parameters<OlderClient['connect']>[0]);
}

/** `cofferdam mcp` as a client starts it: with these settings alone. */
export function connectStdio(line: Line, env: Record<string, string>): Promise<McpClient> {
  const command = {
    command: process.execPath,
    args: [path.join(packageRoot, 'dist/services/cli/main.js'), 'mcp'],
    env: { PATH: process.env.PATH ?? '', ...env },
    stderr: 'ignore' as const,
  };
  return line === 'v2' ? newer(new StdioClientTransport(command)) : older(new OlderStdio(command));
}

export const resultOf = ({ structured }: Answer): JobResult & { error: { code: string } | null } =>
  structured as unknown as JobResult & { error: { code: string } | null };
