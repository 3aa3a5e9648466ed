/** In a sandbox that was used before, a job's outcome and figures are its own: as exact as in a new one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobRequestInput } from '../../shared/contract/request.ts';
import type { JobResult } from '../../shared/contract/result.ts';
import { callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { GROUPED, sh } from './batch-api.ts';
import { NO_SPARES, sandboxOf } from './sandbox-log.ts';

let server: ServerProcess;
let api: ReturnType<typeof callerOf>;
beforeAll(async () => {
  server = await startServer({ COFFERDAM_SLOTS: '1', ...NO_SPARES });
  api = callerOf(server);
});
afterAll(async () => expect(await server.stop()).toBe(0));

const MIB = 1024 * 1024;
const SHAPE = { image: 'python', limits: { memoryMb: 160, cpuMs: 2_000 } } as const;
const python = (script: string): JobRequestInput => ({ ...SHAPE, script });
/** Touches so much memory that twice as much would not fit. */
const GREEDY = python(
  `b = bytearray(100 << 20)\nb[::4096] = b'x' * len(b[::4096])\nimport time; time.sleep(0.4)`,
);
const BURNING = python('import time\nwhile time.process_time() < 1.2: pass');
const CROWDED = python(`
import os, time
for at in range(30):
  if os.fork() == 0: time.sleep(0.3); os._exit(0)
for at in range(30): os.wait()`);
const TALKATIVE: JobRequestInput = { ...SHAPE, ...sh('head -c 60000 /dev/zero; echo e >&2') };
const QUIET: JobRequestInput = { ...SHAPE, ...sh('echo quiet; exit 5') };

let groups = 0;
/** One after another in one group; the last two must have had one sandbox. */
async function inTurn(...jobs: [...JobRequestInput[], JobRequestInput]): Promise<JobResult[]> {
  const group = { ...GROUPED, group: `verdicts-${groups++}` };
  const results: JobResult[] = [];
  for (const job of jobs) results.push(await api.run({ ...job, ...group }));
  const used = await Promise.all(results.map(({ id }) => sandboxOf(server, id)));
  expect(new Set(used).size).toBe(1);
  return results;
}
const last = (results: readonly JobResult[]): JobResult => results.at(-1) ?? expect.unreachable();

describe('after a job that', () => {
  test.each([
    ['used much memory', GREEDY],
    ['burnt much processor time', BURNING],
    ['had many processes', CROWDED],
    ['wrote much', TALKATIVE],
    ['failed', { ...SHAPE, ...sh('kill -SEGV $$') }],
  ])('%s, a small job has its own small figures', async (_name, before) => {
    const result = last(await inTurn(before, before, QUIET));
    expect(result).toMatchObject({
      outcome: { kind: 'exited', exitCode: 5 },
      exitCode: 5,
      fault: 'program',
      stdout: 'quiet\n',
      stdoutBytes: 6,
      stderr: '',
      stderrBytes: 0,
      isTruncated: false,
      artifacts: [],
      attempt: 1,
    });
    expect(result.usage.peakMemoryBytes).toBeLessThan(40 * MIB);
    expect(result.usage.peakProcesses).toBeLessThanOrEqual(4);
    expect(result.usage.cpuMs).toBeLessThan(600);
  });

  test('used much memory, another may use as much, and one that uses more is out of it', async () => {
    const more = python(`b = bytearray(300 << 20)\nb[::4096] = b'x' * len(b[::4096])`);
    const [first, second, third] = await inTurn(GREEDY, GREEDY, more);
    expect([first?.outcome, second?.outcome]).toEqual([
      { kind: 'exited', exitCode: 0 },
      { kind: 'exited', exitCode: 0 },
    ]);
    expect(second?.usage.peakMemoryBytes).toBeGreaterThan(100 * MIB);
    expect(third).toMatchObject({ outcome: { kind: 'out_of_memory' }, exitCode: 137 });
  });

  test('burnt much processor time, another may burn as much, and one that burns more is ended', async () => {
    const endless = python('while True: pass');
    const [first, second, third] = await inTurn(BURNING, BURNING, {
      ...endless,
      timeoutMs: 30_000,
    });
    expect([first?.exitCode, second?.exitCode]).toEqual([0, 0]);
    expect(second?.usage.cpuMs).toBeGreaterThan(1_100);
    expect(second?.usage.cpuMs).toBeLessThan(2_000);
    expect(third).toMatchObject({ outcome: { kind: 'timed_out', limit: 'cpu' } });
    expect(third?.usage.cpuMs).toBeGreaterThan(1_900);
  });

  test('took long, another has all of its own time', async () => {
    const slow = { ...SHAPE, ...sh('sleep 1.2; echo end'), timeoutMs: 2_000 };
    const late = { ...SHAPE, ...sh('echo before; sleep 20'), timeoutMs: 700 };
    const [first, second, third] = await inTurn(slow, slow, late);
    expect([first?.stdout, second?.stdout]).toEqual(['end\n', 'end\n']);
    expect(third).toMatchObject({
      outcome: { kind: 'timed_out', limit: 'wall' },
      exitCode: 124,
      timedOut: true,
      stdout: 'before\n',
    });
    expect(third?.timing.runMs).toBeGreaterThanOrEqual(690);
  });

  test('wrote to its cap, another has all of its own', async () => {
    const capped = { ...TALKATIVE, limits: { ...SHAPE.limits, stdoutBytes: 50_000 } };
    const [first, second] = await inTurn(capped, capped);
    for (const result of [first, second]) {
      expect(result).toMatchObject({ stdoutBytes: 60_000, isTruncated: true, stderr: 'e\n' });
      expect(result?.stdout).toHaveLength(50_000);
    }
  });
});

test('every exit code and signal is told as it was, one after another', async () => {
  const codes = [0, 1, 2, 42, 124, 127, 137, 255];
  const results = await inTurn(
    ...codes.map((code) => ({ ...SHAPE, ...sh(`exit ${code}`) })),
    { ...SHAPE, ...sh('kill -KILL $$') },
    { ...SHAPE, ...sh('kill -SEGV $$') },
    { ...SHAPE, ...sh('kill -TERM $$') },
  );
  expect(results.map(({ outcome }) => outcome)).toEqual([
    ...codes.map((exitCode) => ({ kind: 'exited', exitCode })),
    { kind: 'signaled', signal: 'SIGKILL' },
    { kind: 'signaled', signal: 'SIGSEGV' },
    { kind: 'signaled', signal: 'SIGTERM' },
  ]);
});

test('steps, standard input, files and artifacts are each job’s own', async () => {
  const jobs = Array.from({ length: 6 }, (_, at) => ({
    ...SHAPE,
    files: [{ path: `in-${at}`, content: `${at}` }],
    steps: [
      { name: 'read', command: ['cat'], stdin: `line ${at}` },
      { name: 'list', ...sh(`ls; cp in-${at} out-${at}`) },
    ],
    collect: ['out-*'],
  }));
  const results = await inTurn(...jobs, { ...QUIET, collect: ['**'] });
  for (const [at, { steps, artifacts }] of results.slice(0, -1).entries()) {
    expect(steps?.map(({ stdout }) => stdout)).toEqual([`line ${at}`, `in-${at}\n`]);
    expect(artifacts.map(({ path }) => path)).toEqual([`out-${at}`]);
  }
  expect(last(results).artifacts).toEqual([]);
});
