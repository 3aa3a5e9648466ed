/** Memory: the job is taken when it is full, never the witness; files count as well. */
import { describe, expect, test } from 'vitest';
import { attack, expectNothingLeft, otherThan } from './attack.ts';

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
    expect(otherThan(verdicts, 'EMFILE', 'EPERM', 'ENOMEM', 'EACCES')).toEqual([]);
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
