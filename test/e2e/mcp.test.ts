/** The eight tools and the resources through the official clients of both lines, over HTTP. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';
import { connectHttp, LINES, type McpClient, resultOf } from './mcp-clients.ts';

const server = inject('server');
const api = callerOf(server);
const sh = (text: string) => ({ command: ['sh', '-c', text] });

describe.each(LINES)('the %s client', (line) => {
  let client: McpClient;
  beforeAll(async () => {
    client = await connectHttp(line, server);
  });
  afterAll(() => client.close());

  test('sees eight tools with their hints, and none that decides approvals', async () => {
    const tools = await client.tools();
    expect(tools.map(({ name }) => name)).toEqual([
      'exec',
      'exec_batch',
      'job_get',
      'job_output',
      'job_list',
      'job_cancel',
      'policy_check',
      'sandbox_info',
    ]);
    const hintsOf = (name: string) => tools.find((tool) => tool.name === name)?.annotations;
    expect(hintsOf('exec')).toMatchObject({ destructiveHint: false, openWorldHint: false });
    expect(hintsOf('job_get')).toMatchObject({ readOnlyHint: true });
    expect(hintsOf('job_cancel')).toMatchObject({ readOnlyHint: false, destructiveHint: true });
  });

  test('runs a command and reads how it ended in the first line', async () => {
    const answer = await client.call('exec', sh('echo out; echo err >&2; exit 3'));
    expect(answer.isError).toBe(false);
    expect(answer.text).toMatch(/^Exit code 3 after \d+ ms\.\nstdout:\nout\nstderr:\nerr\n/);
    expect(resultOf(answer)).toMatchObject({
      outcome: { kind: 'exited', exitCode: 3 },
      fault: 'program',
      stdout: 'out\n',
      stderr: 'err\n',
      error: null,
    });
  });

  test('is told what the text leaves out, and reads it where it says', async () => {
    const answer = await client.call('exec', { ...sh('seq 1 5000'), maxOutputChars: 100 });
    expect(answer.text).toContain('1\n2\n3\n');
    expect(answer.text).toContain('4999\n5000');
    const [, offset] =
      answer.text.match(/left out here; job_output .*"offsetBytes": (\d+)\}/) ?? [];
    const { id, stdout } = resultOf(answer);
    const at = { jobId: id, stream: 'stdout', offsetBytes: Number(offset), maxBytes: 64 };
    const rest = await client.call('job_output', at);
    expect(rest.structured.content).toBe(stdout.slice(Number(offset), Number(offset) + 64));
  });

  test('gets a handle when the wait is over, the output so far, and the result later', async () => {
    const handle = await client.call('exec', {
      ...sh('echo early; sleep 2; echo late'),
      waitMs: 200,
    });
    const { id, state } = resultOf(handle);
    expect(handle.isError).toBe(false);
    expect(['queued', 'running']).toContain(state);
    expect(handle.text).toContain(`job_get {"jobIds": ["${id}"]`);
    await expect
      .poll(async () => {
        const seen = await client.call('job_output', { jobId: id, stream: 'stdout' });
        return [seen.structured.state, seen.structured.content];
      })
      .toEqual(['running', 'early\n']);
    const done = await client.call('job_get', { jobIds: [id], waitMs: 20_000 });
    expect(done.structured.jobs).toMatchObject([{ id, stdout: 'early\nlate\n' }]);
    const more = { jobId: id, stream: 'stdout', offsetBytes: 6 };
    expect((await client.call('job_output', more)).structured).toMatchObject({
      content: 'late\n',
      nextOffset: 11,
      isEnd: true,
    });
  });

  test('hears that a job runs and what it wrote last while it waits', async () => {
    const heard: string[] = [];
    const onProgress = (message: string): void => void heard.push(message);
    await client.call('exec', sh('echo one; sleep 1.5; echo two'), { onProgress });
    expect(heard).toContain('running: one');
    expect(heard.length).toBeLessThanOrEqual(6);
  });

  test('runs a batch, reads its results by pages, and knows which is which', async () => {
    const jobs = [{ ...sh('echo a'), key: 'a' }, sh('exit 7')];
    const batch = await client.call('exec_batch', { jobs, waitMs: 30_000 });
    expect(batch.structured).toMatchObject({
      counts: { total: 2, done: 2 },
      items: [
        { index: 0, key: 'a', outcome: { kind: 'exited', exitCode: 0 } },
        { index: 1, key: null, outcome: { kind: 'exited', exitCode: 7 } },
      ],
    });
    const batchId = batch.structured.id;
    const first = await client.call('job_get', { batchId, limit: 1 });
    const rest = await client.call('job_get', { batchId, cursor: first.structured.cursor });
    const places = [first, rest].flatMap(({ structured }) => structured.places as object[]);
    expect(places).toHaveLength(2);
    expect(places).toContainEqual(expect.objectContaining({ index: 0, key: 'a' }));
    expect(rest.structured.cursor).toBeNull();
  });

  test('has a batch refused whole, or without what is wrong in it', async () => {
    const jobs = [{ command: ['true'] }, { command: ['true'], wrong: 1 }];
    const whole = await client.call('exec_batch', { jobs });
    expect(whole).toMatchObject({ isError: true, text: expect.stringContaining('wrong') });
    const rest = await client.call('exec_batch', { jobs, atomic: false, waitMs: 30_000 });
    expect(rest.structured).toMatchObject({ counts: { total: 1 }, skipped: 1 });
    expect(rest.text).toContain('Left out, job 1');
  });

  test('lists jobs by labels and cancels one', async () => {
    const label = `${line}-${Date.now()}`;
    const asked = { ...sh('sleep 30'), labels: { mine: label, all: 'x' }, waitMs: 0 };
    const { id } = resultOf(await client.call('exec', asked));
    const found = await client.call('job_list', { labels: { all: 'x', mine: label } });
    expect(found.structured.jobs).toMatchObject([{ id }]);
    expect((await client.call('job_list', { labels: { all: 'x', mine: '' } })).text).toBe(
      'No jobs.',
    );
    await client.call('job_cancel', { jobIds: [id] });
    const ended = await client.call('job_get', { jobIds: [id], waitMs: 20_000 });
    expect(ended.structured.jobs).toMatchObject([{ outcome: { kind: 'cancelled', by: 'caller' } }]);
    expect(ended.isError).toBe(true);
  });

  test('asks the policy, and what there is', async () => {
    const check = await client.call('policy_check', { command: ['true'] });
    expect(check.structured).toMatchObject({
      decision: 'allow',
      effective: { timeoutMs: expect.any(Number) },
    });
    const info = await client.call('sandbox_info', {});
    expect(info.structured).toMatchObject({ defaultImage: 'base', queue: { slots: 2 } });
    expect(info.text).toContain('no network');
  });

  test('has unknown arguments and tools refused, and not ignored', async () => {
    const answer = await client.call('exec', { command: ['true'], comand: ['x'] });
    expect(answer).toMatchObject({ isError: true, text: expect.stringContaining('comand') });
    expect(resultOf(answer)).toMatchObject({
      id: '',
      outcome: { kind: 'denied', rule: 'REQUEST_INVALID' },
      fault: 'caller',
      ran: 'no',
      error: { code: 'REQUEST_INVALID' },
    });
    expect((await client.call('sandbox_info', { x: 1 })).isError).toBe(true);
    await expect(client.call('approve', {})).rejects.toThrow('Unknown tool');
  });

  test('reads jobs, output and artifacts as resources', async () => {
    const asked = {
      ...sh("echo hi; mkdir out; printf 'a\\0\\377' > 'out/ü b'"),
      collect: ['out/*'],
    };
    const { id } = resultOf(await client.call('exec', asked));
    expect(await client.templates()).toHaveLength(4);
    expect(await client.resources()).toContain(`cofferdam://jobs/${id}`);
    const job = await client.read(`cofferdam://jobs/${id}`);
    expect(JSON.parse(job.text ?? '')).toMatchObject({ id, stdout: 'hi\n' });
    expect((await client.read(`cofferdam://jobs/${id}/stdout`)).text).toBe('hi\n');
    const path = encodeURIComponent('out/ü b').replace('%2F', '/');
    const artifact = await client.read(`cofferdam://jobs/${id}/artifacts/${path}`);
    expect(artifact.blob).toBe(Buffer.from('a\0\xff', 'latin1').toString('base64'));
    const slice = await client.call('job_output', { jobId: id, artifact: 'out/ü b' });
    expect(slice.structured).toMatchObject({ encoding: 'base64', totalBytes: 3, isEnd: true });
  });

  test('sees nothing of another tenant’s jobs, as if there were none', async () => {
    const { id } = await api.run({ command: ['echo', 'secret'] });
    const stranger = await connectHttp(line, { url: server.url, key: server.otherKey });
    try {
      const get = await stranger.call('job_get', { jobIds: [id] });
      expect(get).toMatchObject({ isError: true, structured: { jobs: [], unknown: [id] } });
      const nobody = id.replace(/.{4}$/, '0000');
      for (const one of [id, nobody]) {
        await expect(stranger.read(`cofferdam://jobs/${one}`)).rejects.toThrow('not found');
        const output = await stranger.call('job_output', { jobId: one, stream: 'stdout' });
        expect(output.text).toContain('NOT_FOUND');
        const cancelled = await stranger.call('job_cancel', { jobIds: [one] });
        expect(cancelled.structured.jobs).toMatchObject([{ state: null }]);
      }
      expect(await stranger.resources()).not.toContain(`cofferdam://jobs/${id}`);
    } finally {
      await stranger.close();
    }
  });

  test('cancels the job of a call that it cancels', async () => {
    const leaving = new AbortController();
    const label = `left-${line}-${Date.now()}`;
    const asked = { ...sh('sleep 30'), labels: { label }, waitMs: 30_000 };
    const call = client.call('exec', asked, { signal: leaving.signal });
    call.catch(() => {});
    const find = async () =>
      (await client.call('job_list', { labels: { label } })).structured.jobs as {
        outcome: unknown;
      }[];
    await expect.poll(find).toHaveLength(1);
    leaving.abort();
    await expect(call).rejects.toThrow();
    await expect
      .poll(async () => (await find())[0]?.outcome, { timeout: 10_000 })
      .toEqual({ kind: 'cancelled', by: 'caller' });
  });
});
