/** `cofferdam mcp`: the same tools over stdio, of a server elsewhere and of one that it starts. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';
import { run } from './command-line.ts';
import { connectStdio, LINES, type McpClient, resultOf } from './mcp-clients.ts';

const server = inject('server');
const api = callerOf(server);
const sh = (text: string) => ({ command: ['sh', '-c', text] });
const remote = { COFFERDAM_URL: server.url, COFFERDAM_DEV_KEY: server.key };

describe.each(LINES)('the %s client over stdio, with a server elsewhere', (line) => {
  let client: McpClient;
  beforeAll(async () => {
    client = await connectStdio(line, remote);
  });
  afterAll(() => client.close());

  test('has the same tools, progress and resources', async () => {
    expect(await client.tools()).toHaveLength(8);
    const heard: string[] = [];
    const onProgress = (message: string): void => void heard.push(message);
    const answer = await client.call('exec', sh('echo one; sleep 1.2; exit 3'), { onProgress });
    expect(resultOf(answer)).toMatchObject({ outcome: { kind: 'exited', exitCode: 3 } });
    expect(heard).toContain('running: one');
    const { id } = resultOf(answer);
    expect((await client.read(`cofferdam://jobs/${id}/stdout`)).text).toBe('one\n');
    await expect(client.read('cofferdam://jobs/ü')).rejects.toThrow('not found');
  });

  test('has refusals as over HTTP', async () => {
    const answer = await client.call('exec', { command: ['true'], bogus: 1 });
    expect(answer).toMatchObject({ isError: true, text: expect.stringContaining('bogus') });
    await expect(client.call('nope', {})).rejects.toThrow('Unknown tool');
  });

  test('cancels the job of a call that it cancels, and keeps one with an idempotency key', async () => {
    for (const [idempotencyKey, state] of [
      [undefined, 'done'],
      [`kept-${line}-${Date.now()}`, 'running'],
    ] as const) {
      const leaving = new AbortController();
      const label = `stdio-${line}-${state}-${Date.now()}`;
      const asked = { ...sh('sleep 6'), labels: { label }, waitMs: 30_000 };
      const key = idempotencyKey === undefined ? {} : { idempotencyKey };
      const call = client.call('exec', { ...asked, ...key }, { signal: leaving.signal });
      call.catch(() => {});
      const stateNow = async (): Promise<unknown> => {
        const { structured } = await client.call('job_list', { labels: { label } });
        return (structured.jobs as { state: string }[])[0]?.state;
      };
      await expect.poll(stateNow, { timeout: 10_000 }).toBe('running');
      leaving.abort();
      await expect(call).rejects.toThrow();
      await expect.poll(stateNow, { timeout: 4_000 }).toBe(state);
    }
  });
});

describe('cofferdam mcp', () => {
  test('cancels what its client waits for when the client goes', async () => {
    const client = await connectStdio('v2', remote);
    const label = `gone-${Date.now()}`;
    client.call('exec', { ...sh('sleep 30'), labels: { label }, waitMs: 30_000 }).catch(() => {});
    const find = async () => {
      const page = await (await api.send(`/v1/jobs?label=label%3D${label}`)).json();
      return (page as { jobs: { state: string; outcome: { kind: string } | null }[] }).jobs[0];
    };
    await expect.poll(async () => (await find())?.state).toBe('running');
    await client.close();
    await expect
      .poll(async () => (await find())?.outcome?.kind, { timeout: 10_000 })
      .toBe('cancelled');
  });

  test('answers what is no message, and says who did not answer', async () => {
    const stdin = ['{', '[]', JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'tools/list' })];
    const env = { COFFERDAM_URL: 'http://127.0.0.1:9', COFFERDAM_DEV_KEY: 'k'.repeat(40) };
    const { stdout, code } = await run(['mcp'], { env, stdin: `${stdin.join('\n')}\n` });
    expect(code).toBe(0);
    const answers = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(answers[0]).toMatchObject({ id: null, error: { code: -32_700 } });
    expect(answers[1]).toMatchObject({ id: null, error: { code: -32_600 } });
  });

  test('without a server starts one of its own, and leaves nothing when its client goes', async () => {
    const dataDir = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-mcp-'));
    try {
      const client = await connectStdio('v2', { COFFERDAM_DATA_DIR: dataDir });
      const answer = await client.call('exec', { command: ['echo', 'embedded'] });
      expect(resultOf(answer).stdout).toBe('embedded\n');
      await client.close();
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
});
