/** `cofferdam exec` and `logs` of jobs that take their time: output as it comes, through lost connections, ^C. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { JobResult } from '../../shared/contract/result.ts';
import { callerOf } from '../helpers/server.ts';
import { cofferdam, run } from './command-line.ts';
import { until, untilDone } from './watching.ts';

const server = inject('server');
const api = callerOf(server);
const env = { COFFERDAM_URL: server.url, COFFERDAM_DEV_KEY: server.key };

const jobOf = (label: string): Promise<JobResult> =>
  until(`the job ${label}`, 20_000, async () => {
    const page = await (await api.send(`/v1/jobs?label=cli=${label}`)).json();
    const id = (page as { jobs: { id: string }[] }).jobs[0]?.id;
    return id !== undefined && api.get(id);
  });

describe('exec', () => {
  test('prints output while the job runs, each stream to its own', async () => {
    const script = 'echo first; echo err >&2; sleep 3; read x; echo last; exit 5';
    const command = cofferdam(['exec', '--', 'sh', '-c', script], { env });
    await until('the output', 20_000, () => command.stdout() === 'first\n');
    await until('the errors', 20_000, () => command.stderr() === 'err\n');
    expect(await command.exitCode).toBe(5);
    expect([command.stdout(), command.stderr()]).toEqual(['first\nlast\n', 'err\n']);
  });

  test.each([
    ['while its output is followed', 'followed', []],
    ['before it knows its id', 'early', ['--json']],
  ])('^C %s cancels the job and exits with 130', async (_when, label, options) => {
    const args = ['exec', ...options, '--label', `cli=${label}`, '--timeout', '50000'];
    const command = cofferdam([...args, '--', 'sh', '-c', 'echo x; sleep 40'], { env });
    const { id } = await jobOf(label);
    if (label === 'followed') await until('the output', 20_000, () => command.stdout() === 'x\n');
    command.kill('SIGINT');
    expect(await command.exitCode).toBe(130);
    expect((await untilDone(api, id)).outcome).toEqual({ kind: 'cancelled', by: 'caller' });
  });

  test('says why a job that was followed has no exit code of its own', async () => {
    const args = ['exec', '--timeout', '2500', '--', 'sh', '-c', 'echo part; sleep 40'];
    const { code, stdout, stderr } = await run(args, { env });
    expect([code, stdout]).toEqual([124, 'part\n']);
    expect(stderr).toContain('timed out (wall time)');
  });
});

describe('through a proxy that cuts every connection', () => {
  let proxy: http.Server;
  let url: string;
  let connections = 0;
  beforeAll(async () => {
    proxy = http.createServer((request, response) => {
      const { host: _, ...headers } = request.headers;
      const target = new URL(request.url ?? '', server.url);
      const onward = http.request(target, { method: request.method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        if (!request.url?.endsWith('/events')) return void answer.pipe(response);
        connections++;
        let left = 50_000 + connections * 10_000;
        answer.on('data', (bytes: Buffer) => {
          left -= bytes.length;
          if (left > 0) return void response.write(bytes);
          response.write(bytes.subarray(0, bytes.length + left));
          answer.destroy();
          setTimeout(() => response.destroy(), 20);
        });
        answer.on('end', () => response.end());
      });
      onward.on('error', () => response.destroy());
      request.pipe(onward);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    proxy.closeAllConnections();
    proxy.close();
  });

  test('exec prints every byte once', async () => {
    const script =
      'i=0; while [ $i -lt 12000 ]; do echo "ligne $i é€🙂"; i=$((i+1)); done; sleep 2';
    const args = ['exec', '--label', 'cli=cut', '--', 'sh', '-c', script];
    const { code, stdout } = await run(args, { env: { ...env, COFFERDAM_URL: url } });
    expect(code).toBe(0);
    expect(connections).toBeGreaterThan(2);
    const { stdout: stored } = await jobOf('cut');
    expect(stored.length).toBeGreaterThan(100_000);
    expect(stdout === stored).toBe(true);
  });
});

describe('logs', () => {
  test('prints what a job has written so far, and ends', async () => {
    const { id } = await api.submit({
      command: ['sh', '-c', 'echo far; sleep 40'],
      timeoutMs: 50_000,
    });
    const { code, stdout } = await run(['logs', id], { env });
    expect([code, stdout]).toEqual([0, 'far\n']);
    expect((await api.get(id)).state).toBe('running');
    await api.send(`/v1/jobs/${id}`, { method: 'DELETE' });
  });

  test('prints what a job that is done wrote, of every step', async () => {
    const { id } = await api.run({
      steps: [
        { name: 'a', command: ['echo', 'one'] },
        { name: 'b', command: ['sh', '-c', 'echo two >&2; exit 3'] },
      ],
    });
    expect(await run(['logs', id], { env })).toEqual({ code: 0, stdout: 'one\n', stderr: 'two\n' });
  });

  test('with --follow goes on to the end, and exits as exec would', async () => {
    const { id } = await api.submit({
      command: ['sh', '-c', 'echo a; sleep 2; echo b; kill -9 $$'],
    });
    const { code, stdout, stderr } = await run(['logs', '-f', id], { env });
    expect([code, stdout]).toEqual([137, 'a\nb\n']);
    expect(stderr).toContain('SIGKILL');
  });

  test('of a job that is not there says so', async () => {
    const { code, stderr } = await run(['logs', `job_${'0'.repeat(32)}`], { env });
    expect(code).toBe(1);
    expect(stderr).toContain('NOT_FOUND');
  });
});
