/** Messages to /mcp of both lines of revisions, each with up to three places of it changed. */
import { malformedJson } from './malformed-json.ts';
import type { Random } from './random.ts';
import { EXAMPLES, sample } from './sample.ts';
import type { Target } from './target.ts';
import type { Plain } from './wire.ts';

const MCP_METHODS: readonly (readonly [method: string, params: unknown])[] = [
  [
    'initialize',
    { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'f', version: '1' } },
  ],
  ['ping', {}],
  ['server/discover', {}],
  ['tools/list', { cursor: 'x' }],
  ['resources/list', {}],
  ['resources/templates/list', {}],
  ['resources/read', { uri: 'cofferdam://jobs/x/stdout' }],
  ['resources/subscribe', { uri: 'cofferdam://jobs/x' }],
  ['subscriptions/listen', { notifications: { toolsListChanged: true } }],
  ['prompts/list', {}],
  ['prompts/get', { name: 'x' }],
  [
    'completion/complete',
    { ref: { type: 'ref/prompt', name: 'x' }, argument: { name: 'a', value: '' } },
  ],
  ['logging/setLevel', { level: 'debug' }],
  ['tasks/get', { taskId: 'x' }],
  ['notifications/initialized', {}],
  ['notifications/cancelled', { requestId: 1, reason: 'x' }],
  ['notifications/progress', { progressToken: 1, progress: 1 }],
];

export function mcpRequest(target: Target, random: Random): Plain {
  const { method, params } = mcpCall(target, random);
  const isNew = random.chance(0.3);
  const version = isNew ? '2026-07-28' : '2025-11-25';
  const meta = isNew
    ? {
        'io.modelcontextprotocol/protocolVersion': version,
        'io.modelcontextprotocol/clientInfo': { name: 'f', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': {},
      }
    : { progressToken: 1, 'cofferdam/session': 's' };
  const id = method.startsWith('notifications/') ? {} : { id: random.below(1_000) };
  const whole = { jsonrpc: '2.0', ...id, method, params: { ...params, _meta: meta } };
  const message = random.chance(0.04) ? [whole, whole] : whole;
  const headers: [string, string][] = [
    ['Host', target.host],
    ['Authorization', `Bearer ${target.key}`],
    ['Content-Type', 'application/json'],
    ['Accept', 'application/json, text/event-stream'],
    ...(isNew || random.chance(0.5) ? [['MCP-Protocol-Version', version] as [string, string]] : []),
    ...(random.chance(0.2) ? [['Mcp-Session-Id', 'a'.repeat(32)] as [string, string]] : []),
  ];
  if (isNew) {
    const name = params.name ?? params.uri;
    headers.push(['Mcp-Method', method]);
    if (typeof name === 'string') headers.push(['Mcp-Name', name]);
  }
  const body = Buffer.from(malformedJson(message, random));
  return { method: random.chance(0.97) ? 'POST' : 'GET', target: '/mcp', headers, body };
}

function mcpCall({ tools, ids }: Target, random: Random) {
  if (random.chance(0.3)) {
    const [method, params] = random.pick(MCP_METHODS);
    return { method, params: params as Record<string, unknown> };
  }
  const { name, inputSchema } = random.pick(tools);
  const known = { jobId: ids.jobs, jobIds: [ids.jobs], batchId: ids.batches };
  const args = sample(inputSchema, random, { ...EXAMPLES, ...known });
  return { method: 'tools/call', params: { name, arguments: args } as Record<string, unknown> };
}
