/** Memory: the job is taken when it is full, never the witness; files count as well. */
import { describe, expect, test } from 'vitest';
import { docker, sandboxes } from '../helpers/docker.ts';
import { api, attack, besideNeighbour, expectNothingLeft, otherThan, RUNTIME } from './attack.ts';

const MIB = 1024 * 1024;
const MEMORY_MB = 128;
const SMALL = { limits: { memoryMb: MEMORY_MB, workspaceMb: 32 } };

describe('the limit', () => {
  test.each([
    ['M01 one process', 'touch'],
    ['M03 many small processes', 'many'],
    ['M09 memory files', 'memfd'],
    ['M09 System V memory', 'shm'],
  ])('%s beyond the limit end as out of memory', async (_, kind) => {
    const { result } = await attack('memory-hog.c', { ...SMALL, args: [kind] });
    expect(result).toMatchObject({
      outcome: { kind: 'out_of_memory' },
      fault: 'program',
      ran: 'yes',
      attempt: 1,
    });
    expect(result.usage.peakMemoryBytes).toBeLessThanOrEqual(MEMORY_MB * MIB);
    // The end of gVisor's memory is the end of the whole sandbox: no guest is left to tell figures.
    if (RUNTIME === 'runsc') return;
    expect(result.usage.peakMemoryBytes).toBeGreaterThan((MEMORY_MB / 2) * MIB);
  });

  test('M01 a job does not make the kernel kill its witness instead of it', async () => {
    const { result } = await attack('oom-witness.c', SMALL);
    expect(result).toMatchObject({
      outcome: { kind: 'out_of_memory' },
      fault: 'program',
      ran: 'yes',
      attempt: 1,
    });
  });

  test('M04 endless recursion is a segmentation fault', async () => {
    const { result } = await attack('memory-hog.c', { args: ['stack'] });
    expect(result.outcome).toEqual({ kind: 'signaled', signal: 'SIGSEGV' });
  });

  test('M09 M14 no message queue, no locked and no huge page is given', async () => {
    const { verdicts } = await attack('message-queue.c');
    expect(Object.keys(verdicts)).toEqual(['mq_open', 'mlockall', 'mlock', 'huge-pages']);
    // gVisor's queues and huge pages are its own memory: they count like any other.
    const { mqOpen, hugePages } = { mqOpen: verdicts.mq_open, hugePages: verdicts['huge-pages'] };
    const isOwn = RUNTIME === 'runsc' && mqOpen === 'OK' && hugePages === 'OK';
    const refused = isOwn
      ? { mlockall: verdicts.mlockall ?? '', mlock: verdicts.mlock ?? '' }
      : verdicts;
    expect(otherThan(refused, 'EMFILE', 'EPERM', 'ENOMEM', 'EACCES')).toEqual([]);
  });
});

describe('what is only promised', () => {
  test('M02 a terabyte that nobody touches costs nothing', async () => {
    const { result, verdicts } = await attack('memory-hog.c', { ...SMALL, args: ['reserve'] });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(['OK', 'ENOMEM']).toContain(verdicts.reserved);
  });

  test('M19 arguments over what the kernel takes are a fault of the caller, those under it arrive', async () => {
    const over = Array.from({ length: 20 }, () => 'x'.repeat(127 * 1024));
    expect(await api.run({ command: ['true', ...over] })).toMatchObject({
      outcome: {
        kind: 'could_not_start',
        stage: 'exec',
        errno: RUNTIME === 'runc' ? 'E2BIG' : 'ENAMETOOLONG',
      },
      fault: 'caller',
      attempt: 1,
    });
    const under = over.slice(0, 8);
    const counted = await api.run({ command: ['sh', '-c', 'echo $#', 'sh', ...under] });
    expect(counted.stdout).toBe('8\n');
  });
});

describe('together', () => {
  test('M17 every slot at its limit ends as it would alone, and nothing else is taken', async () => {
    const hogs = await Promise.all(
      [1, 2, 3].map(() => attack('memory-hog.c', { ...SMALL, args: ['touch'] })),
    );
    for (const { result } of hogs) {
      expect(result).toMatchObject({ outcome: { kind: 'out_of_memory' }, attempt: 1 });
    }
    expect((await api.send('/readyz')).status).toBe(200);
  });

  test('M08 the pages of files that a job reads count as its own', async () => {
    const script = 'while :; do find /usr -xdev -type f -exec cat {} + > /dev/null; done';
    const reading = api.run({ command: ['sh', '-c', script], ...SMALL, timeoutMs: 5000 });
    const [result] = await besideNeighbour(reading);
    expect(['timed_out', 'out_of_memory']).toContain(result.outcome?.kind);
    expect(result).toMatchObject({ fault: 'program', attempt: 1 });
    expect(result.usage.peakMemoryBytes).toBeLessThanOrEqual(MEMORY_MB * MIB);
  });

  test('M20 a job under pressure has no page in swap', async () => {
    const script =
      'head -c 20000000 /dev/zero > f; tail -c 60000000 /dev/zero | sleep 1; cat /proc/self/status';
    const { stdout } = await api.run({
      command: ['sh', '-c', script],
      ...SMALL,
      timeoutMs: 10_000,
    });
    const swapped = stdout.match(/^VmSwap:\s+(\d+)/m)?.[1] ?? '0';
    expect(swapped).toBe('0');
    const { worker } = await api.run({ command: ['true'] });
    const bounds = await Promise.all(
      (await sandboxes(worker ?? undefined)).map((id) =>
        docker('inspect', '-f', '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}', id).catch(
          () => '0 0',
        ),
      ),
    );
    expect(bounds.length).toBeGreaterThan(0);
    expect(bounds.filter((pair) => pair.split(' ')[0] !== pair.split(' ')[1])).toEqual([]);
  });
});

describe('floods', () => {
  test('M11 of names end at a limit of the job', async () => {
    const { result, verdicts } = await attack('floods.c', { ...SMALL, args: ['names'] });
    if (RUNTIME === 'runsc') {
      // Without a number of inodes they end at the memory, or at their own number here.
      expect(['exited', 'out_of_memory']).toContain(result.outcome?.kind);
      return;
    }
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(verdicts.folders).toMatch(/^ENOSPC/);
    expect(verdicts.links).toMatch(/^ENOSPC/);
    expect(verdicts.attributes).toMatch(/^(ENOSPC|EOPNOTSUPP|ENOMEM|E2BIG)/);
  });

  test('M12 of objects of the kernel end at the number of descriptors', async () => {
    const { result, verdicts } = await attack('floods.c', {
      args: ['kernel'],
      limits: { openFiles: 128 },
    });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(Object.keys(verdicts)).toEqual(['epoll', 'event', 'timer', 'inotify', 'pipe']);
    for (const verdict of Object.values(verdicts)) {
      expect(verdict).toMatch(/^EMFILE \d+$/);
      expect(Number(verdict.split(' ')[1])).toBeLessThanOrEqual(128);
    }
  });
});

describe('files in memory', () => {
  test.each([
    ['M06 /work', '/work', 32],
    ['M07 /dev/shm', '/dev/shm', MEMORY_MB / 8],
    ['M07 /tmp', '/tmp', MEMORY_MB / 8],
  ])('%s is full at its size and the job lives on', async (_, folder, sizeMb) => {
    const { result, verdicts } = await attack('fill.c', { ...SMALL, args: [folder] });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(verdicts['file-0']).toBe('ENOSPC');
    expect(Number(verdicts.bytes)).toBeLessThanOrEqual(sizeMb * MIB);
    expect(Number(verdicts.bytes)).toBeGreaterThan((sizeMb - 1) * MIB);
    expect(result.usage.peakMemoryBytes).toBeLessThanOrEqual(MEMORY_MB * MIB);
  });

  test('M06 files that fill the memory together end the job and not its witness', async () => {
    const { result } = await attack('fill-all.sh', {
      limits: { memoryMb: 64, workspaceMb: 63 },
    });
    expect(result).toMatchObject({ outcome: { kind: 'out_of_memory' }, attempt: 1 });
  });
});

expectNothingLeft();
