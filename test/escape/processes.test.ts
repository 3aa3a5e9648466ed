/** Bombs: a job has its processes and takes none of anybody else's. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { JobResult } from '../../shared/contract/result.ts';
import { api, attack, expectNothingLeft, requestOf } from './attack.ts';

const PROCESSES = 48;
const BOMB = { timeoutMs: 3000, limits: { processes: PROCESSES } };
const STARTED_WITHIN_MS = 20_000;

async function untilRunning(id: string): Promise<void> {
  const deadline = Date.now() + STARTED_WITHIN_MS;
  while (Date.now() < deadline && (await api.get(id)).state !== 'running') await sleep(50);
}

const endOf = async (id: string): Promise<JobResult> => api.get(id, 30);

describe('bombs', () => {
  test.each([
    ['P01 a fork bomb', []],
    ['P02 a thread bomb', ['thread']],
  ])('%s is refused at the limit and ended at the deadline', async (_, args) => {
    const { result, verdicts } = await attack('fork-bomb.c', { ...BOMB, args });
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
    expect(verdicts.refused).toBe('EAGAIN');
    expect(Number(verdicts.made)).toBeGreaterThan(PROCESSES / 2);
    expect(Number(verdicts.made)).toBeLessThan(PROCESSES);
    expect(result.usage.peakProcesses).toBeLessThanOrEqual(PROCESSES + 16);
    expect(result.usage.wallMs).toBeLessThan(BOMB.timeoutMs + 3000);
  });

  test('P01 the classic of the shell ends as well', async () => {
    const result = await api.run({
      ...BOMB,
      command: ['bash', '-c', 'bomb() { bomb | bomb & }; bomb; sleep 60'],
      limits: { ...BOMB.limits, stderrBytes: 4096 },
    });
    expect(['timed_out', 'output_limit', 'exited']).toContain(result.outcome?.kind);
    expect(result).toMatchObject({ ran: 'yes', attempt: 1 });
  });

  test('P05 beside a fork bomb a neighbour forks as many as it may', async () => {
    const bomb = await api.submit(requestOf('fork-bomb.c', { ...BOMB, timeoutMs: 8000 }));
    await untilRunning(bomb.id);
    await sleep(1000);
    const script = 'for i in $(seq 40); do sleep 1 & done; wait; echo all';
    const neighbour = await api.run({ command: ['sh', '-c', script], limits: BOMB.limits });
    expect(neighbour).toMatchObject({ outcome: { kind: 'exited', exitCode: 0 }, stdout: 'all\n' });
    const bombed = await endOf(bomb.id);
    expect(bombed.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
    expect(bombed.timing.finishedAt ?? '').toMatch(/./);
    expect(Date.parse(bombed.timing.finishedAt ?? '')).toBeGreaterThan(
      Date.parse(neighbour.timing.finishedAt ?? ''),
    );
  });
});

describe('time', () => {
  test('T04 a job deaf to every signal is killed at its deadline', async () => {
    const { result, lines } = await attack('ignore-signals.c', { timeoutMs: 2000 });
    expect(lines).toEqual(['deaf']);
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
    expect(result.usage.wallMs).toBeLessThan(4000);
  });

  test('T09 a job is over with its main process, whoever holds its output', async () => {
    const script = "setsid sh -c 'sleep 30; echo late' & echo before; exit 5";
    const result = await api.run({ command: ['sh', '-c', script], timeoutMs: 25_000 });
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 5 }, stdout: 'before\n' });
    expect(result.usage.wallMs).toBeLessThan(5000);
  });

  test('T10 a job that closes its streams is not over', async () => {
    const result = await api.run({
      command: ['sh', '-c', 'exec <&- >&- 2>&-; sleep 1; exit 7'],
    });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 7 });
    expect(result.usage.wallMs).toBeGreaterThan(950);
  });

  test('T10 a job that closes its streams and stays is ended by its deadline', async () => {
    const command = ['sh', '-c', 'exec <&- >&- 2>&-; sleep 60'];
    const result = await api.run({ command, timeoutMs: 1500 });
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
  });
});

expectNothingLeft();
