/** Output that is too much, too strange, or stopped in the middle. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, inject, test } from 'vitest';
import { watchMemory } from '../e2e/process-memory.ts';
import { docker, sandboxes } from '../helpers/docker.ts';
import { api, attack, besideNeighbour, expectNothingLeft, RUNTIME } from './attack.ts';

const MIB = 1024 * 1024;
/** Beside what the caps hold: what a process of Node allocates meanwhile. */
const MEMORY_MARGIN = 150 * MIB;
const KILL_WITHIN_MS = 20_000;

describe('floods', () => {
  test.each([
    ['O01 stdout', 'cat /dev/zero', 'stdoutBytes'],
    ['O02 stderr', 'cat /dev/zero >&2', 'stderrBytes'],
    ['O04 a gigabyte without a newline', 'head -c 1073741824 /dev/zero', 'stdoutBytes'],
  ] as const)(
    '%s is cut at its cap and ends the job, and costs the worker no more',
    async (_, script, counted) => {
      const memory = watchMemory(inject('server').pid);
      const limits = { stdoutBytes: 100_000, stderrBytes: 100_000 };
      const flood = api.run({ command: ['sh', '-c', script], limits, timeoutMs: 20_000 });
      const [result] = await besideNeighbour(flood);
      const before = memory.first;
      // gVisor may be too slow to reach the hard limit in time.
      const ends = RUNTIME === 'runc' ? ['output_limit'] : ['output_limit', 'timed_out'];
      expect(ends).toContain(result.outcome?.kind);
      expect(result).toMatchObject({ isTruncated: true, fault: 'program', attempt: 1 });
      expect(result[counted]).toBeGreaterThan(100_000);
      expect(memory.stop() - before).toBeLessThan(MEMORY_MARGIN);
    },
  );
});

describe('streams', () => {
  test('O13 a job that closes its stdin while it is sent runs on', async () => {
    const command = ['sh', '-c', 'exec 0<&-; sleep 0.3; echo done'];
    const result = await api.run({ command, stdin: 'x'.repeat(8 * MIB - 65_536) });
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 0 }, stdout: 'done\n' });
  });

  test('O20 no stream is a terminal', async () => {
    const { verdicts, lines } = await attack('terminal.py');
    expect(lines).toHaveLength(18);
    expect(Object.values(verdicts).filter((verdict) => verdict === 'OK')).toEqual([]);
  });
});

describe('a sandbox that is killed', () => {
  test('O17 O22 in the middle of its output has a lost job, never one that ended well', async () => {
    const job = await api.submit({
      command: ['sh', '-c', 'while :; do echo line; done'],
      limits: { stdoutBytes: 1000 },
      onLost: 'fail',
      timeoutMs: 20_000,
    });
    const deadline = Date.now() + KILL_WITHIN_MS;
    let seen = await api.get(job.id);
    while (Date.now() < deadline && seen.timing.startedAt === null && seen.state !== 'running') {
      await sleep(50);
      seen = await api.get(job.id);
    }
    await sleep(500);
    const { worker } = await api.run({ command: ['true'] });
    const ids = await sandboxes(worker ?? undefined);
    // All of the worker's: only it knows which of them the job has.
    await Promise.all(ids.map((id) => docker('kill', id).catch(() => {})));
    const result = await api.get(job.id, 30);
    expect(result).toMatchObject({
      state: 'done',
      outcome: { kind: 'lost', cause: 'sandbox_lost' },
      fault: 'platform',
      exitCode: null,
      attempt: 1,
    });
  });
});

expectNothingLeft();
