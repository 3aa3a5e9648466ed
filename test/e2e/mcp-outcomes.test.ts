/** One sample of every end that can be had, accepted by both official clients, which check it against the schema. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';
import { connectHttp, LINES, type McpClient, resultOf } from './mcp-clients.ts';

const server = inject('server');
const sh = (text: string) => ({ command: ['sh', '-c', text] });

/** Arguments → the end, whether it is an error, and how its text begins. */
const ENDS = [
  [sh('exit 0'), { kind: 'exited', exitCode: 0 }, false, 'Exit code 0'],
  [sh('exit 3'), { kind: 'exited', exitCode: 3 }, false, 'Exit code 3'],
  [sh('kill -SEGV $$'), { kind: 'signaled', signal: 'SIGSEGV' }, true, 'Ended by SIGSEGV'],
  [
    { ...sh('echo a; sleep 9'), timeoutMs: 300 },
    { kind: 'timed_out', limit: 'wall' },
    true,
    'Timed',
  ],
  [
    { ...sh('while :; do :; done'), limits: { cpuMs: 300 } },
    { kind: 'timed_out', limit: 'cpu' },
    true,
    'Timed out',
  ],
  [
    { image: 'python', ...{ script: 'x = bytearray(10**9)' }, limits: { memoryMb: 128 } },
    { kind: 'out_of_memory' },
    true,
    'Out of memory',
  ],
  [{ ...sh('yes'), limits: { stdoutBytes: 1000 } }, { kind: 'output_limit' }, true, 'Ended after'],
  [
    { command: ['/nowhere'] },
    { kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' },
    true,
    'Could not start',
  ],
  [
    { command: ['true'], timeoutMs: 10 ** 9 },
    { kind: 'denied', rule: 'LIMIT_ABOVE_CEILING' },
    true,
    'exec refused (LIMIT_ABOVE_CEILING)',
  ],
] as const;

describe.each(LINES)('the %s client accepts', (line) => {
  let client: McpClient;
  beforeAll(async () => {
    client = await connectHttp(line, server);
  });
  afterAll(() => client.close());

  test.each(ENDS)('%j, which ends as %j', async (args, outcome, isError, start) => {
    const answer = await client.call('exec', args);
    expect(resultOf(answer).outcome).toMatchObject(outcome);
    expect(answer.isError).toBe(isError);
    expect(answer.text.startsWith(start)).toBe(true);
    expect(answer.text.split('\n')[0]).toMatch(/\.$/);
  });

  test('what was written before a timeout', async () => {
    const answer = await client.call('exec', { ...sh('echo kept; sleep 9'), timeoutMs: 300 });
    expect(resultOf(answer).stdout).toBe('kept\n');
    expect(answer.text).toContain('kept');
  });

  test('a job that somebody else cancelled', async () => {
    const label = `ends-${line}-${Date.now()}`;
    const call = client.call('exec', { ...sh('sleep 30'), labels: { label }, waitMs: 30_000 });
    const api = callerOf(server);
    await expect
      .poll(async () => {
        const page = (await (await api.send(`/v1/jobs?label=label%3D${label}`)).json()) as {
          jobs: { id: string }[];
        };
        const [job] = page.jobs;
        if (job === undefined) return 0;
        return (await api.send(`/v1/jobs/${job.id}`, { method: 'DELETE' })).status;
      })
      .toBeGreaterThanOrEqual(200);
    const answer = await call;
    expect(resultOf(answer).outcome).toEqual({ kind: 'cancelled', by: 'caller' });
    expect(answer.isError).toBe(true);
  });

  test('a job that waited too long', async () => {
    const api = callerOf(server);
    const busy = await Promise.all(
      Array.from({ length: 6 }, () => api.submit({ ...sh('sleep 4'), lane: 'interactive' })),
    );
    try {
      const answer = await client.call('exec', { command: ['true'], expiresInMs: 1_000 });
      expect(resultOf(answer)).toMatchObject({ outcome: { kind: 'expired' }, ran: 'no' });
      expect(answer.isError).toBe(true);
    } finally {
      await Promise.all(busy.map(({ id }) => api.send(`/v1/jobs/${id}`, { method: 'DELETE' })));
    }
  });
});
