/** What ends a program against its will: its time and its memory. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';

const api = callerOf(inject('server'));
const sh = (text: string) => ({ command: ['sh', '-c', text] });

describe('wall time', () => {
  const timedOut = {
    outcome: { kind: 'timed_out', limit: 'wall' },
    fault: 'program',
    retryable: false,
    ran: 'yes',
    exitCode: 124,
    timedOut: true,
  };

  test('a timeout keeps what was written before it', async () => {
    const result = await api.run({
      ...sh('echo out; echo err >&2; sleep 60; echo late'),
      timeoutMs: 700,
    });
    expect(result).toMatchObject({ ...timedOut, stdout: 'out\n', stderr: 'err\n' });
    expect(result.usage.wallMs).toBeGreaterThanOrEqual(700);
    expect(result.usage.wallMs).toBeLessThan(10_000);
  });

  test('a program that ignores every signal is ended all the same', async () => {
    const result = await api.run({
      ...sh("trap '' TERM INT HUP; echo deaf; while :; do sleep 1; done"),
      timeoutMs: 600,
    });
    expect(result).toMatchObject({ ...timedOut, stdout: 'deaf\n' });
  });

  test('children in sessions of their own do not outlast the timeout', async () => {
    const result = await api.run({
      ...sh('for i in 1 2 3; do setsid sh -c "sleep 60" & done; echo up; wait'),
      timeoutMs: 800,
    });
    expect(result).toMatchObject({ ...timedOut, stdout: 'up\n' });
  });

  test('a stopped program is timed out like a running one', async () => {
    const result = await api.run({ ...sh('kill -STOP $$'), timeoutMs: 500 });
    expect(result).toMatchObject(timedOut);
  });

  test('a step has its own time within that of the job', async () => {
    const result = await api.run({
      steps: [
        { name: 'quick', command: ['echo', 'one'] },
        { name: 'slow', ...sh('echo two; sleep 60'), timeoutMs: 500 },
        { name: 'never', command: ['echo', 'three'] },
      ],
      timeoutMs: 30_000,
    });
    expect(result).toMatchObject({ ...timedOut, stdout: 'two\n' });
    expect(result.steps?.map(({ name, exitCode }) => [name, exitCode])).toEqual([
      ['quick', 0],
      ['slow', 124],
    ]);
    expect(result.steps?.[1]?.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
  });

  test('the time of the job is of all its steps together', async () => {
    const result = await api.run({
      steps: [
        { name: 'first', command: ['sleep', '0.4'] },
        { name: 'second', command: ['sleep', '60'] },
      ],
      timeoutMs: 1_000,
    });
    expect(result).toMatchObject(timedOut);
    expect(result.steps).toHaveLength(2);
  });
});

describe('processor time', () => {
  const outOfTime = {
    outcome: { kind: 'timed_out', limit: 'cpu' },
    fault: 'program',
    exitCode: 124,
    timedOut: true,
  };

  test('a busy loop ends when its processor time is used up, long before the wall', async () => {
    const result = await api.run({
      ...sh('echo start; while :; do :; done'),
      timeoutMs: 30_000,
      limits: { cpuMs: 300 },
    });
    expect(result).toMatchObject({ ...outOfTime, stdout: 'start\n' });
    expect(result.usage.cpuMs).toBeGreaterThanOrEqual(300);
    expect(result.usage.cpuMs).toBeLessThan(3_000);
  });

  test('T07 many short children use one budget together', async () => {
    const result = await api.run({
      ...sh('while :; do /bin/true; done'),
      timeoutMs: 40_000,
      limits: { cpuMs: 500 },
    });
    expect(result).toMatchObject(outOfTime);
  });

  test('steps use one budget together', async () => {
    const burn = (ms: number) => ({
      command: ['python3', '-c', `import time\nwhile time.process_time() < ${ms / 1000}: pass`],
    });
    const result = await api.run({
      image: 'python',
      steps: [
        { name: 'first', ...burn(600) },
        { name: 'second', ...burn(20_000) },
      ],
      timeoutMs: 40_000,
      limits: { cpuMs: 1_000 },
    });
    expect(result).toMatchObject(outOfTime);
    expect(result.steps?.map(({ name }) => name)).toEqual(['first', 'second']);
  });

  test('sleeping costs no processor time', async () => {
    const result = await api.run({ command: ['sleep', '1'], limits: { cpuMs: 300 } });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
  });
});

describe('memory', () => {
  const outOfMemory = {
    outcome: { kind: 'out_of_memory' },
    fault: 'program',
    retryable: false,
    ran: 'yes',
    exitCode: 137,
    timedOut: false,
  };
  const HOG = "print('before', flush=True)\nhog = bytearray(b'x') * (400 << 20)\nprint('after')\n";

  test('a Python program past its memory is out_of_memory, with its output kept', async () => {
    const result = await api.run({ image: 'python', script: HOG, limits: { memoryMb: 64 } });
    expect(result).toMatchObject({ ...outOfMemory, stdout: 'before\n' });
  });

  test('a C program past its memory is out_of_memory', async () => {
    const source =
      '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint main(void) { puts("before"); fflush(stdout); for (;;) { char *p = malloc(1 << 20); if (!p) return 9; memset(p, 1, 1 << 20); } }\n';
    const result = await api.run({
      files: [{ path: 'a.c', content: source }],
      steps: [
        { name: 'compile', command: ['gcc', '-o', 'a', 'a.c'] },
        { name: 'run', command: ['./a'] },
      ],
      timeoutMs: 30_000,
      limits: { memoryMb: 128 },
    });
    expect(result).toMatchObject({ ...outOfMemory, stdout: 'before\n' });
    expect(result.steps?.map(({ outcome }) => outcome.kind)).toEqual(['exited', 'out_of_memory']);
  });

  test('a child killed for memory makes its failing parent out_of_memory, with both outputs kept', async () => {
    const result = await api.run({
      image: 'python',
      files: [{ path: 'hog.py', content: HOG }],
      ...sh('python3 hog.py; echo "child: $?"; exit 3'),
      limits: { memoryMb: 64 },
    });
    expect(result).toMatchObject({ ...outOfMemory, stdout: 'before\nchild: 137\n' });
  });

  test('a parent that copes with the loss of its child has exited well', async () => {
    const result = await api.run({
      image: 'python',
      files: [{ path: 'hog.py', content: HOG }],
      ...sh('python3 hog.py; echo "child: $?"; exit 0'),
      limits: { memoryMb: 64 },
    });
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 0 }, fault: 'none' });
  });

  test('a full workspace is an error of the program that filled it', async () => {
    const result = await api.run({
      ...sh('for i in 1 2 3 4; do head -c 1M /dev/zero > f$i || exit 5; done'),
      limits: { workspaceMb: 2 },
    });
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 5 }, fault: 'program' });
    expect(result.stderr).toContain('No space left');
  });
});
