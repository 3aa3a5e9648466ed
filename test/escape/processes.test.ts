/** Bombs: a job has its processes and takes none of anybody else's. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, inject, test } from 'vitest';
import type { JobResult } from '../../shared/contract/result.ts';
import { api, attack, expectNothingLeft, FIXTURES, RUNTIME, requestOf } from './attack.ts';

const LOADERS = readFileSync(path.join(FIXTURES, 'loaders.sh'), 'utf8');
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
    expect(Number(verdicts.made)).toBeLessThanOrEqual(PROCESSES);
    expect(result.usage.peakProcesses).toBeLessThanOrEqual(PROCESSES + 16);
    expect(result.usage.wallMs).toBeLessThan(BOMB.timeoutMs + 3000);
  });

  test('P01 the classic of the shell ends as well', async () => {
    const result = await api.run({
      ...BOMB,
      command: ['bash', '-c', 'bomb() { bomb | bomb & }; bomb; sleep 60'],
      limits: { ...BOMB.limits, stderrBytes: 4096 },
    });
    const ends = ['timed_out', 'output_limit', 'exited', 'lost'];
    expect(ends).toContain(result.outcome?.kind);
    // Lost only with the kernel of its own, and then by the program's fault and not for a second start.
    expect(result).toMatchObject({ ran: 'yes', attempt: 1, retryable: false });
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

describe('the host', () => {
  test('P16 forks on while every slot is at its limit of processes', async () => {
    const bombs = [1, 2, 3].map(() => attack('fork-bomb.c', { ...BOMB, timeoutMs: 6000 }));
    const forked: (number | null)[] = [];
    const ended = Promise.all(bombs);
    let isOver = false;
    void ended.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      forked.push(spawnSync('true').status);
      await sleep(100);
    }
    expect(forked.length).toBeGreaterThan(5);
    expect(forked.filter((status) => status !== 0)).toEqual([]);
    for (const { result } of await ended) {
      expect(result).toMatchObject({ outcome: { kind: 'timed_out', limit: 'wall' }, attempt: 1 });
    }
  });

  test('P12 has no core and no helper of hundreds of crashes', async () => {
    const { verdicts } = await attack('crashes.c');
    expect(verdicts).toMatchObject({ 'raise-core': 'EPERM', faults: '300', cores: '0' });
  });

  test('P17 has nothing more after many jobs than before them', async () => {
    const { pid } = inject('server');
    const runs = RUNTIME === 'runc' ? 150 : 30;
    const seen = () => ({
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
      mounts: readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length,
    });
    await api.run({ command: ['true'] });
    const before = seen();
    for (let run = 0; run < runs; run++) {
      const { outcome } = await api.run({ command: ['true'] });
      expect(outcome).toEqual({ kind: 'exited', exitCode: 0 });
    }
    const after = seen();
    // Sandboxes that are ready, and those of others, come and go: what drifts would do so by one a job.
    expect(after.descriptors - before.descriptors).toBeLessThan(25);
    expect(after.mounts - before.mounts).toBeLessThan(60);
  });
});

describe('orphans', () => {
  test('P04 by the thousand are reaped while the job runs', async () => {
    const orphans = RUNTIME === 'runc' ? '2000' : '200'; // under ptrace each takes its time
    const { result, verdicts } = await attack('orphans.c', { args: [orphans] });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(verdicts).toEqual({ made: orphans, dead: '0' });
  });
});

describe('starts', () => {
  test('P10 of what is no program here are a fault of the caller', async () => {
    const start = (command: string[]) =>
      api.run({
        files: [{ path: 'loaders.sh', content: LOADERS }],
        steps: [
          { name: 'make', command: ['sh', 'loaders.sh'] },
          { name: 'start', command },
        ],
      });
    for (const [command, errno] of [
      [['./arm'], 'ENOEXEC'],
      [['./lost'], 'ENOENT'],
      [['./loaders.sh'], 'EACCES'],
      [['/work'], 'EACCES'],
      [['nowhere-to-be-found'], 'ENOENT'],
    ] as const) {
      expect(await start([...command])).toMatchObject({
        outcome: { kind: 'could_not_start', stage: 'exec', errno },
        fault: 'caller',
        retryable: false,
        attempt: 1,
      });
    }
    const busy = await start(['sh', '-c', 'exec 3>>busy; ./busy']);
    expect(busy).toMatchObject({
      outcome: { kind: 'exited' },
      fault: RUNTIME === 'runc' ? 'program' : busy.fault,
    });
  });
});

expectNothingLeft();
