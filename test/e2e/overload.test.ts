/** Far more at once than there is room for: what is accepted ends well, the rest is refused with a time to come back. */
import { afterEach, describe, expect, test } from 'vitest';
import type { JobResult } from '../../shared/contract/result.ts';
import { type Caller, callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { sh } from './batch-api.ts';
import { watchMemory } from './process-memory.ts';
import { until, untilDone } from './watching.ts';

const MIB = 1024 * 1024;
const LONG_MS = 240_000;

let server: ServerProcess | undefined;
/** Nothing has run on it yet. */
async function coldServer(env: Record<string, string> = {}) {
  const started = await startServer(env);
  server = started;
  return { api: callerOf(started), pid: started.pid };
}
afterEach(async () => expect(await server?.stop()).toBe(0));

const post = (api: Caller, body: unknown, seconds = 60): Promise<Response> =>
  api.send('/v1/jobs', { method: 'POST', body, headers: { Prefer: `wait=${seconds}` } });

describe('at once, on a cold server', () => {
  test(
    'two hundred requests that wait all end well',
    async () => {
      const { api } = await coldServer();
      const results = await Promise.all(
        Array.from({ length: 200 }, async (_, at) => {
          const response = await post(api, { command: ['echo', `${at}`] });
          const { id } = (await response.json()) as JobResult;
          // One that took longer than a request may wait is there all the same.
          return response.status === 200 ? api.get(id) : untilDone(api, id);
        }),
      );
      for (const [at, { outcome, stdout, attempt }] of results.entries()) {
        expect({ outcome, stdout, attempt }).toEqual({
          outcome: { kind: 'exited', exitCode: 0 },
          stdout: `${at}\n`,
          attempt: 1,
        });
      }
    },
    LONG_MS,
  );

  test(
    'a thousand are accepted or refused in words, and the server lives',
    async () => {
      const { api, pid } = await coldServer({ COFFERDAM_MAX_OPEN_JOBS: '400' });
      const memory = watchMemory(pid);
      const answers = await Promise.all(
        Array.from({ length: 1_000 }, async () => {
          const response = await post(api, { command: ['true'] }, 1);
          const { status, headers } = response;
          return { status, headers, body: (await response.json()) as { id: string } };
        }),
      );
      const looked = await api.send('/v1/info');
      expect(looked.status).toBe(200);
      for (const { status, headers } of answers) {
        expect([200, 202, 429, 503]).toContain(status);
        if (status >= 429) expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      }
      const accepted = answers.filter(({ status }) => status < 300);
      expect(accepted.length).toBeGreaterThanOrEqual(400);
      expect(accepted.length).toBeLessThan(1_000);
      for (const { body } of accepted) {
        expect((await untilDone(api, body.id)).outcome).toEqual({ kind: 'exited', exitCode: 0 });
      }
      expect(memory.stop()).toBeLessThan(700 * MIB);
      // And it takes on more once there is room.
      await until('there is room again', 30_000, async () => {
        return (await post(api, { command: ['true'] })).status === 200;
      });
    },
    LONG_MS,
  );

  test(
    'sixty jobs of half a second of processor time do not time out for each other',
    async () => {
      const { api } = await coldServer();
      const burn = 'import time\nwhile time.process_time() < 0.5: pass\nprint("burnt")\n';
      const jobs = await Promise.all(
        Array.from({ length: 60 }, () =>
          api.submit({ image: 'python', script: burn, timeoutMs: 3_000 }),
        ),
      );
      const results = await Promise.all(jobs.map(({ id }) => untilDone(api, id)));
      expect(results.filter(({ timedOut }) => timedOut)).toEqual([]);
      expect(new Set(results.map(({ stdout }) => stdout))).toEqual(new Set(['burnt\n']));
    },
    LONG_MS,
  );
});

test('a queue that is full refuses with a time to come back, and what it holds is kept', async () => {
  const { api } = await coldServer({ COFFERDAM_MAX_OPEN_JOBS: '10' });
  const sleeping = { ...sh('sleep 3; echo kept'), timeoutMs: 20_000 };
  const jobs = await Promise.all(Array.from({ length: 10 }, () => api.submit(sleeping)));
  const refused = await api.send('/v1/jobs', { method: 'POST', body: sleeping });
  expect(refused.status).toBe(503);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await refused.json()).toMatchObject({ code: 'QUEUE_FULL', retryable: true });
  const results = await Promise.all(jobs.map(({ id }) => untilDone(api, id)));
  expect(new Set(results.map(({ stdout }) => stdout))).toEqual(new Set(['kept\n']));
});
