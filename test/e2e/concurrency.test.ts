/** More jobs at once than there are slots. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';
import { until, workerOf } from './watching.ts';

const api = callerOf(inject('server'));

describe('many at once', () => {
  test('sixty jobs all end, each with its own output', async () => {
    const results = await Promise.all(
      Array.from({ length: 60 }, (_, at) =>
        api.run({
          command: ['sh', '-c', `read word; echo "$word"; exit ${at % 3}`],
          stdin: `job ${at}\n`,
        }),
      ),
    );
    for (const [at, result] of results.entries()) {
      expect(result).toMatchObject({
        outcome: { kind: 'exited', exitCode: at % 3 },
        stdout: `job ${at}\n`,
        attempt: 1,
      });
    }
    expect(new Set(results.map(({ id }) => id)).size).toBe(60);
  });

  test('time in the queue is not time of the job: none times out that would not alone', async () => {
    const burn = 'import time\nwhile time.process_time() < 0.5: pass\nprint("burnt")\n';
    const results = await Promise.all(
      Array.from({ length: 20 }, () =>
        api.run({ image: 'python', script: burn, timeoutMs: 3_000 }),
      ),
    );
    expect(results.filter(({ timedOut }) => timedOut)).toEqual([]);
    expect(new Set(results.map(({ stdout }) => stdout))).toEqual(new Set(['burnt\n']));
  });

  test('jobs of different images and shapes share the slots', async () => {
    const shapes = [
      { image: 'base', limits: { memoryMb: 64 } },
      { image: 'python', limits: { cpus: 0.5 } },
      { image: 'node', limits: { processes: 40 } },
      { image: 'base', limits: { workspaceMb: 8 } },
    ];
    const results = await Promise.all(
      Array.from({ length: 16 }, (_, at) =>
        api.run({ command: ['echo', `${at}`], ...shapes[at % shapes.length] }),
      ),
    );
    expect(results.map(({ stdout }) => stdout)).toEqual(results.map((_, at) => `${at}\n`));
  });

  test('afterwards nothing runs and nothing is open', async () => {
    await until('the worker is idle', 20_000, async () => {
      const info = (await (await api.send('/v1/info')).json()) as { openJobs: number };
      // The worker tells of itself every few seconds.
      return info.openJobs === 0 && (await workerOf(api)).running === 0;
    });
  });
});
