/** Time and processor: nothing that a program does moves its deadlines or takes what is its neighbour's. */
import { describe, expect, test } from 'vitest';
import { api, attack, besideNeighbour, expectNothingLeft, RUNTIME } from './attack.ts';

/** How much later than its limit a job may end here: the machine may be busy. */
const LATE_MS = 3000;
const LOOP = ['sh', '-c', 'while :; do :; done'];

describe('the wall clock', () => {
  test('T01 ends an endless loop', async () => {
    const [result] = await besideNeighbour(api.run({ command: LOOP, timeoutMs: 1500 }));
    expect(result).toMatchObject({
      outcome: { kind: 'timed_out', limit: 'wall' },
      fault: 'program',
      exitCode: 124,
      attempt: 1,
    });
    expect(result.usage.wallMs).toBeGreaterThanOrEqual(1500);
    expect(result.usage.wallMs).toBeLessThan(1500 + LATE_MS);
  });

  test('T03 ends a sleep, which cost no processor time', async () => {
    const result = await api.run({ command: ['sleep', '60'], timeoutMs: 1500 });
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
    expect(result.usage.cpuMs).toBeLessThan(500);
  });

  test('T04 ends a job that is deaf to every signal', async () => {
    const { result, lines } = await attack('ignore-signals.c', { timeoutMs: 4000 });
    expect(lines).toEqual(['deaf']);
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
    expect(result.usage.wallMs).toBeLessThan(4000 + LATE_MS);
  });

  test('T16 ends a compilation without an end, as that of the step', async () => {
    const result = await api.run({
      files: [
        { path: 'endless.c', content: '#include "/dev/zero"\nint main(void) { return 0; }\n' },
      ],
      steps: [
        { name: 'compile', command: ['gcc', 'endless.c'], timeoutMs: 3000 },
        { name: 'run', command: ['./a.out'] },
      ],
    });
    expect(result.steps).toHaveLength(1);
    expect(['timed_out', 'out_of_memory', 'exited']).toContain(result.outcome?.kind);
    expect(result).toMatchObject({ fault: 'program', attempt: 1 });
    expect(result.usage.wallMs).toBeLessThan(3000 + LATE_MS);
  });
});

describe('processor time', () => {
  test.skipIf(RUNTIME === 'runsc')('T02 of 32 threads is that of the quota', async () => {
    const { result } = await attack('spin.c', { args: ['32'], timeoutMs: 4000 });
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
    expect(result.usage.cpuMs).toBeLessThan(result.usage.wallMs * 1.15);
  });

  test('T06 of a child counts while its parent waits', async () => {
    const command = ['sh', '-c', '(while :; do :; done) & wait'];
    const result = await api.run({ command, timeoutMs: 20_000, limits: { cpuMs: 1000 } });
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'cpu' });
    expect(result.usage.cpuMs).toBeGreaterThanOrEqual(900);
  });
});

describe('the end', () => {
  test('T09 is that of the main process, whoever holds its output', async () => {
    const script = "setsid sh -c 'sleep 30; echo late' & echo before; exit 5";
    const result = await api.run({ command: ['sh', '-c', script], timeoutMs: 25_000 });
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 5 }, stdout: 'before\n' });
    expect(result.usage.wallMs).toBeLessThan(5000);
  });

  test('T10 is not that of the streams', async () => {
    const result = await api.run({
      command: ['sh', '-c', 'exec <&- >&- 2>&-; sleep 1; exit 7'],
    });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 7 });
    expect(result.usage.wallMs).toBeGreaterThan(950);
  });

  test('T10 comes at the deadline for a job that closed its streams and stays', async () => {
    const command = ['sh', '-c', 'exec <&- >&- 2>&-; sleep 60'];
    const result = await api.run({ command, timeoutMs: 1500 });
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
  });
});

expectNothingLeft();
