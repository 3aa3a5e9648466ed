/** Several programs in one sandbox, one after another. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';

const api = callerOf(inject('server'));
const sh = (text: string) => ({ command: ['sh', '-c', text] });

describe('steps', () => {
  test('a compiler and its program, each with its own output', async () => {
    const result = await api.run({
      files: [
        { path: 'a.c', content: '#include <stdio.h>\nint main(void) { puts("42"); return 0; }\n' },
      ],
      steps: [
        { name: 'compile', ...sh('echo compiling >&2; gcc -o a a.c') },
        { name: 'run', command: ['./a'] },
      ],
      timeoutMs: 30_000,
    });
    expect(result).toMatchObject({
      outcome: { kind: 'exited', exitCode: 0 },
      stdout: '42\n',
      stderr: '',
    });
    expect(result.steps).toMatchObject([
      {
        name: 'compile',
        outcome: { kind: 'exited', exitCode: 0 },
        stdout: '',
        stderr: 'compiling\n',
      },
      { name: 'run', outcome: { kind: 'exited', exitCode: 0 }, stdout: '42\n', exitCode: 0 },
    ]);
    for (const { wallMs, cpuMs } of result.steps ?? []) {
      expect(wallMs).toBeGreaterThan(0);
      expect(cpuMs).toBeGreaterThanOrEqual(0);
    }
  });

  test('after one that fails none is run, and its end is that of the job', async () => {
    const result = await api.run({
      files: [{ path: 'a.c', content: 'int main(void) { return }\n' }],
      steps: [
        { name: 'compile', command: ['gcc', '-o', 'a', 'a.c'] },
        { name: 'run', command: ['./a'] },
      ],
      timeoutMs: 30_000,
    });
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 1 }, fault: 'program' });
    expect(result.steps?.map(({ name }) => name)).toEqual(['compile']);
    expect(result.steps?.[0]?.stderr).toContain('error');
    expect(result.stderr).toBe(result.steps?.[0]?.stderr);
  });

  test('hand files to each other', async () => {
    const result = await api.run({
      steps: [
        { name: 'one', ...sh('echo one > file; mkdir d; echo in > d/e') },
        { name: 'two', ...sh('cat file d/e; echo two >> file') },
        { name: 'three', command: ['cat', 'file'] },
      ],
    });
    expect(result.steps?.map(({ stdout }) => stdout)).toEqual(['', 'one\nin\n', 'one\ntwo\n']);
    expect(result.stdout).toBe('one\ntwo\n');
  });

  test('each reads its own standard input, or none', async () => {
    const result = await api.run({
      steps: [
        { name: 'unread', command: ['true'], stdin: 'x'.repeat(300_000) },
        { name: 'read', command: ['cat'], stdin: 'second' },
        { name: 'empty', command: ['wc', '-c'] },
        { name: 'last', command: ['cat'], stdin: 'fourth' },
      ],
    });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(result.steps?.map(({ stdout }) => stdout.trim())).toEqual(['', 'second', '0', 'fourth']);
  });

  test('scripts and commands mix', async () => {
    const result = await api.run({
      image: 'python',
      steps: [
        { name: 'write', script: 'open("n", "w").write("41")' },
        { name: 'read', script: 'print(int(open("n").read()) + 1)' },
        { name: 'show', command: ['cat', 'n'] },
      ],
    });
    expect(result.steps?.map(({ stdout }) => stdout)).toEqual(['', '42\n', '41']);
  });

  test('no process of one step is there in the next', async () => {
    const result = await api.run({
      steps: [
        { name: 'leave', ...sh('sleep 500 & setsid sleep 501 & echo started') },
        { name: 'look', ...sh('ps -eo args | grep "[s]leep 50" || echo none') },
      ],
    });
    expect(result.stdout).toBe('none\n');
  });

  test('a step whose program is missing is where the job could not start', async () => {
    const result = await api.run({
      steps: [
        { name: 'first', command: ['echo', 'ran'] },
        { name: 'second', command: ['no-such-program'] },
        { name: 'third', command: ['true'] },
      ],
    });
    expect(result).toMatchObject({
      outcome: { kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' },
      exitCode: 127,
    });
    expect(result.steps?.map(({ name, exitCode }) => [name, exitCode])).toEqual([
      ['first', 0],
      ['second', 127],
    ]);
  });

  test('sixteen of them run, and a job without steps has none in its result', async () => {
    const steps = Array.from({ length: 16 }, (_, at) => ({
      name: `s${at}`,
      command: ['echo', `${at}`],
    }));
    expect((await api.run({ steps })).steps?.map(({ stdout }) => stdout)).toEqual(
      steps.map((_, at) => `${at}\n`),
    );
    expect(await api.run({ command: ['true'] })).not.toHaveProperty('steps');
  });
});
