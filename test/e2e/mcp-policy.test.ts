/** A policy in front of the tools: what it denies, limits and hides, as both official clients see it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { connectHttp, LINES, type McpClient, resultOf } from './mcp-clients.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-policy-'));
const POLICY = {
  version: '1',
  name: 'mcp',
  default: 'deny',
  hide: ['exec_batch'],
  rules: [
    {
      name: 'no-network-tools',
      tools: ['exec'],
      when: { path: 'args.command.0', op: 'in', value: ['curl'] },
      action: 'deny',
      reason: 'Sandboxes have no network. Ship inputs in `files` instead.',
    },
    {
      name: 'big-jobs',
      tools: ['exec'],
      when: { path: 'effective.timeoutMs', op: 'gt', value: 60_000 },
      action: 'require_approval',
      reason: 'More than a minute needs an operator.',
    },
    {
      name: 'agents-may-exec',
      tools: ['exec'],
      action: 'allow',
      rate_limit: { max: 2, window: 60, per: 'session', reason: '2 runs a minute per session' },
    },
    {
      name: 'read-own',
      tools: ['job_get', 'job_list', 'policy_check', 'sandbox_info'],
      action: 'allow',
    },
  ],
};

let server: ServerProcess;
beforeAll(async () => {
  const file = path.join(folder, 'policy.json');
  writeFileSync(file, JSON.stringify(POLICY));
  server = await startServer({ COFFERDAM_POLICY: file });
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe.each(LINES)('the %s client under a policy', (line) => {
  let client: McpClient;
  beforeAll(async () => {
    client = await connectHttp(line, server);
  });
  afterAll(() => client.close());

  test('is denied in one line with rule and reason, and nothing is enqueued', async () => {
    const answer = await client.call('exec', { command: ['curl', 'x'] });
    expect(answer.isError).toBe(true);
    expect(answer.text).toMatch(
      /^exec refused \(POLICY_DENIED\) by the rule "no-network-tools": Sand/,
    );
    expect(answer.text).not.toContain('\n');
    expect(resultOf(answer)).toMatchObject({
      outcome: { kind: 'denied', rule: 'no-network-tools' },
      fault: 'policy',
      ran: 'no',
    });
    const page = await (await callerOf(server).send('/v1/jobs')).text();
    expect(page).not.toContain('"denied"');
  });

  test('is limited by session, and told when to retry', async () => {
    const meta = { 'cofferdam/session': `limited-${line}` };
    const run = () => client.call('exec', { command: ['true'] }, { meta });
    for (let call = 0; call < 2; call++) expect((await run()).isError).toBe(false);
    const third = await run();
    expect(third.text).toMatch(/LIMIT_EXCEEDED.*agents-may-exec.*Retry in \d+ s\.$/);
    expect(resultOf(third)).toMatchObject({
      fault: 'policy',
      retryable: true,
      error: { code: 'LIMIT_EXCEEDED', policy: { decision: 'rate_limited' } },
    });
    const other = { meta: { 'cofferdam/session': `other-${line}` } };
    expect((await client.call('exec', { command: ['true'] }, other)).isError).toBe(false);
  });

  test('gets a handle for what awaits approval, and is told not to send it again', async () => {
    const meta = { 'cofferdam/session': `parked-${line}` };
    const asked = { command: ['true'], timeoutMs: 90_000, waitMs: 0 };
    const answer = await client.call('exec', asked, { meta });
    expect(answer).toMatchObject({ isError: false, text: expect.stringContaining('approval') });
    expect(resultOf(answer)).toMatchObject({ state: 'awaiting_approval', outcome: null });
    const id = resultOf(answer).id;
    const later = await client.call('job_get', { jobIds: [id] });
    expect(later.structured.jobs).toMatchObject([{ id, state: 'awaiting_approval' }]);
  });

  test('is shown no hidden tool, and denied what no rule allows', async () => {
    expect((await client.tools()).map(({ name }) => name)).not.toContain('exec_batch');
    await expect(client.call('exec_batch', { jobs: [{}] })).rejects.toThrow('Unknown tool');
    const answer = await client.call('job_cancel', { jobIds: ['x'] });
    expect(answer.text).toMatch(/POLICY_DENIED.*by the default of the policy/);
  });

  test('may ask what would be decided, spending nothing', async () => {
    const meta = { 'cofferdam/session': `asking-${line}` };
    for (let call = 0; call < 4; call++) {
      const check = await client.call('policy_check', { command: ['true'] }, { meta });
      expect(check.structured).toMatchObject({ decision: 'allow', rule: 'agents-may-exec' });
    }
    const denied = await client.call('policy_check', { command: ['curl'] }, { meta });
    expect(denied).toMatchObject({ isError: false, structured: { decision: 'deny' } });
  });
});
