/** What the policy and the scopes of a key let a client see and do: through the official client, without a network. */
import { Client } from '@modelcontextprotocol/client';
import { InMemoryTransport } from '@modelcontextprotocol/server';
import { afterEach, describe, expect, it } from 'vitest';
import { createMcpServer } from '../../../services/api/mcp/mcp-server.ts';
import type { McpParts } from '../../../services/api/mcp/parts.ts';
import { createTools } from '../../../services/api/mcp/tools.ts';
import type { Call } from '../../../services/api/policy/call.ts';
import type { Scope, Tool } from '../../../shared/contract/policy.ts';
import { AppError } from '../../../shared/errors.ts';
import { createLog } from '../../../shared/log.ts';
import { callerOfTenant } from '../caller.ts';

const DENIED = new AppError('POLICY_DENIED', {
  policy: {
    decision: 'deny',
    rule: 'never',
    reason: 'Not here.',
    retryAfterMs: null,
    approvalId: null,
    revision: 'r1',
  },
});

const open: Client[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.close()));
});

/** Nothing behind the door but the door: whatever asks further fails. */
async function connect(over: Partial<McpParts> = {}, scopes?: readonly Scope[]) {
  const asked: Call[] = [];
  const parts = {
    admit: { job: () => Promise.reject(DENIED) },
    upload: () => Promise.reject(DENIED),
    decide: async (call: Call) => {
      asked.push(call);
      throw DENIED;
    },
    isHidden: () => false,
    version: '1',
    log: createLog('silent'),
    ...over,
  } as unknown as McpParts;
  const caller = callerOfTenant('ann', scopes === undefined ? {} : { scopes: new Set(scopes) });
  const server = createMcpServer(parts, createTools(parts), caller);
  const [here, there] = InMemoryTransport.createLinkedPair();
  await server.connect(there);
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(here);
  open.push(client);
  await client.listTools();
  const call = async (name: string, args = {}, _meta?: Record<string, unknown>) => {
    const params = { name, arguments: args, ...(_meta === undefined ? {} : { _meta }) };
    const { content, structuredContent, isError } = await client.callTool(params);
    const [first] = content as { text: string }[];
    return { text: first?.text, structured: structuredContent, isError };
  };
  const names = async () => (await client.listTools()).tools.map(({ name }) => name);
  return { client, call, names, asked };
}

describe('the policy', () => {
  it('denies exec with its rule and reason, as a result that the client accepts', async () => {
    const { call, asked } = await connect();
    const answer = await call('exec', { command: ['curl'], waitMs: 0 });
    expect(answer).toMatchObject({
      isError: true,
      text: expect.stringMatching(
        /^exec refused \(POLICY_DENIED\) by the rule "never": Not here\. /,
      ),
      structured: {
        outcome: { kind: 'denied', rule: 'never', reason: 'Not here.' },
        fault: 'policy',
        error: { code: 'POLICY_DENIED', policy: { revision: 'r1' } },
      },
    });
    // It is judged where it is admitted, once.
    expect(asked).toEqual([]);
  });

  it.each([
    ['job_get', { jobIds: ['x'] }],
    ['job_output', { jobId: 'x', stream: 'stdout' }],
    ['job_list', { labels: { a: 'b' } }],
    ['job_cancel', { jobIds: ['x'] }],
    ['policy_check', { command: ['true'] }],
    ['sandbox_info', {}],
  ])('is asked before %s does anything', async (name, args) => {
    const { call, asked } = await connect();
    expect(await call(name, args)).toMatchObject({ isError: true });
    expect(asked).toMatchObject([{ tool: name, args, caller: { tenant: 'ann', session: null } }]);
  });

  it('hears the session that the call names', async () => {
    const { call, asked } = await connect();
    await call('sandbox_info', {}, { 'cofferdam/session': 'agent 7' });
    expect(asked[0]?.caller).toMatchObject({ grant: 'key-of-ann', session: 'agent 7' });
    const answer = await call('sandbox_info', {}, { 'cofferdam/session': 7 });
    expect(answer.text).toContain('expected text; came number');
    expect(asked).toHaveLength(1);
  });

  it('hides tools, so that calling one is calling none', async () => {
    const isHidden = (tool: Tool): boolean => tool === 'exec_batch';
    const { call, names } = await connect({ isHidden });
    expect(await names()).not.toContain('exec_batch');
    await expect(call('exec_batch', { jobs: [{}] })).rejects.toThrow('Unknown tool: exec_batch');
  });

  it('is asked before jobs are listed as resources, as job_list is', async () => {
    const { client, asked } = await connect();
    await expect(client.listResources()).rejects.toThrow(/POLICY_DENIED.*never/);
    expect(asked).toMatchObject([{ tool: 'job_list', caller: { tenant: 'ann' } }]);
    const hidden = await connect({ isHidden: (tool) => tool === 'job_list' });
    expect((await hidden.client.listResources()).resources).toEqual([]);
  });

  it('is asked before a resource is read', async () => {
    const { client, asked } = await connect();
    const uri = `cofferdam://jobs/job_${'0'.repeat(32)}/stdout`;
    await expect(client.readResource({ uri })).rejects.toThrow(/POLICY_DENIED.*never/);
    expect(asked).toMatchObject([{ tool: 'job_output' }]);
  });
});

describe('the scopes of a key', () => {
  it.each([
    [[], ['sandbox_info']],
    [['exec:run'], ['exec', 'policy_check', 'sandbox_info']],
    [['exec:batch'], ['exec_batch', 'policy_check', 'sandbox_info']],
    [['exec:read'], ['job_get', 'job_output', 'job_list', 'sandbox_info']],
    [['exec:cancel'], ['job_cancel', 'sandbox_info']],
    [['admin', 'policy:write', 'policy:approve'], ['sandbox_info']],
  ] as [Scope[], Tool[]][])(
    '%j show the tools %j, and let no other be called',
    async (scopes, seen) => {
      const { call, names } = await connect({}, scopes);
      expect(await names()).toEqual(seen);
      if (seen.includes('exec')) return;
      const answer = await call('exec', { command: ['true'] });
      expect(answer).toMatchObject({ isError: true, text: expect.stringContaining('FORBIDDEN') });
      expect(answer.text).toContain('exec:run');
    },
  );

  it('without exec:read show no resource and let none be read', async () => {
    const { client } = await connect({}, ['exec:run']);
    expect((await client.listResources()).resources).toEqual([]);
    const uri = `cofferdam://jobs/job_${'0'.repeat(32)}`;
    await expect(client.readResource({ uri })).rejects.toThrow('exec:read');
  });
});
