/** Every way in which a program ends by itself, or never starts, through HTTP. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';

const api = callerOf(inject('server'));
const sh = (text: string) => ({ command: ['sh', '-c', text] });

describe('exited', () => {
  test('a program that exits with 0 is a result without a fault', async () => {
    const result = await api.run({ command: ['true'] });
    expect(result).toMatchObject({
      state: 'done',
      outcome: { kind: 'exited', exitCode: 0 },
      fault: 'none',
      retryable: false,
      ran: 'yes',
      exitCode: 0,
      timedOut: false,
      attempt: 1,
      runtime: 'runc',
    });
  });

  test.each([1, 2, 3, 42, 100, 124, 125, 126, 127, 128, 129, 137, 139, 143, 254, 255])(
    'P11 exit code %i of a program is its own, and nothing is read into it',
    async (exitCode) => {
      const result = await api.run(sh(`echo out; echo err >&2; exit ${exitCode}`));
      expect(result).toMatchObject({
        outcome: { kind: 'exited', exitCode },
        fault: 'program',
        retryable: false,
        ran: 'yes',
        exitCode,
        timedOut: false,
        stdout: 'out\n',
        stderr: 'err\n',
      });
    },
  );

  test('a child that a signal ended is an exit code of the shell, not a signal of the job', async () => {
    const result = await api.run(sh('sh -c "kill -SEGV \\$\\$"; exit $?'));
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 139 });
  });

  test('the figures of a result fit together', async () => {
    const result = await api.run(sh('sleep 0.2'));
    const { acceptedAt, startedAt, finishedAt, queuedMs, setupMs, runMs } = result.timing;
    expect(Date.parse(startedAt as string)).toBeGreaterThanOrEqual(Date.parse(acceptedAt));
    expect(Date.parse(finishedAt as string)).toBeGreaterThanOrEqual(
      Date.parse(startedAt as string),
    );
    expect(runMs).toBeGreaterThanOrEqual(150);
    expect(queuedMs).toBeGreaterThanOrEqual(0);
    expect(setupMs).toBeGreaterThanOrEqual(0);
    expect(result.usage.wallMs).toBeGreaterThanOrEqual(190);
    expect(result.usage.peakMemoryBytes).toBeGreaterThan(0);
    expect(result.image).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(result.worker).toEqual(expect.any(String));
  });
});

describe('signaled', () => {
  test.each([
    'HUP',
    'INT',
    'QUIT',
    'ILL',
    'TRAP',
    'ABRT',
    'BUS',
    'FPE',
    'KILL',
    'USR1',
    'SEGV',
    'PIPE',
    'ALRM',
    'TERM',
    'XCPU',
    'XFSZ',
    'SYS',
  ])('P11 a program ended by SIG%s is named for that signal and for nothing else', async (name) => {
    const result = await api.run(sh(`echo before; kill -${name} $$; echo after`));
    expect(result).toMatchObject({
      outcome: { kind: 'signaled', signal: `SIG${name}` },
      fault: 'program',
      retryable: false,
      ran: 'yes',
      exitCode: null,
      timedOut: false,
      stdout: 'before\n',
    });
  });

  const FAULTS = {
    SIGSEGV: '*(volatile int *)0 = 1;',
    SIGILL: '__builtin_trap();',
    SIGFPE: 'volatile int zero = 0; return 7 / zero;',
    SIGABRT: 'abort();',
    SIGBUS:
      'int fd = open("f", O_RDWR | O_CREAT, 0600); *(volatile char *)mmap(0, 4096, PROT_WRITE, MAP_SHARED, fd, 0) = 1;',
    SIGXFSZ: 'int fd = open("f", O_RDWR | O_CREAT, 0600); pwrite(fd, "x", 1, 100 << 20);',
  };

  test.each(Object.entries(FAULTS))(
    'a C program that earns %s is ended by it',
    async (signal, body) => {
      const source = `#include <fcntl.h>\n#include <stdlib.h>\n#include <sys/mman.h>\n#include <unistd.h>\nint main(void) { ${body} return 0; }\n`;
      const result = await api.run({
        files: [{ path: 'a.c', content: source }],
        steps: [
          { name: 'compile', command: ['gcc', '-w', '-o', 'a', 'a.c'] },
          { name: 'run', command: ['./a'] },
        ],
        timeoutMs: 30_000,
      });
      expect(result).toMatchObject({ outcome: { kind: 'signaled', signal }, fault: 'program' });
    },
  );
});

describe('could_not_start', () => {
  const startOf = async (request: Parameters<typeof api.run>[0]) => {
    const result = await api.run(request);
    expect(result).toMatchObject({ fault: 'caller', ran: 'no', retryable: false, timedOut: false });
    return result;
  };

  test('P10 a program that is not there is 127 with ENOENT', async () => {
    for (const command of [['no-such-program'], ['/no/such/program'], ['./missing']]) {
      const result = await startOf({ command });
      expect(result.outcome).toEqual({ kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' });
      expect(result.exitCode).toBe(127);
    }
  });

  test('P10 a file that may not be executed is 126 with EACCES', async () => {
    const result = await startOf({
      files: [{ path: 'a', content: '#!/bin/sh\n' }],
      command: ['./a'],
    });
    expect(result.outcome).toEqual({ kind: 'could_not_start', stage: 'exec', errno: 'EACCES' });
    expect(result.exitCode).toBe(126);
  });

  test('a folder as the program is 126 with EACCES', async () => {
    for (const command of [['/work'], ['/etc']]) {
      const result = await startOf({ command });
      expect(result.outcome).toEqual({ kind: 'could_not_start', stage: 'exec', errno: 'EACCES' });
      expect(result.exitCode).toBe(126);
    }
  });

  test('a file that is no program is 126 with ENOEXEC', async () => {
    const files = [{ path: 'a', content: 'neither ELF nor #!', executable: true }];
    const result = await startOf({ files, command: ['./a'] });
    expect(result.outcome).toEqual({ kind: 'could_not_start', stage: 'exec', errno: 'ENOEXEC' });
    expect(result.exitCode).toBe(126);
  });

  test('a script whose interpreter is missing could not start', async () => {
    const files = [{ path: 'a', content: '#!/no/such/interpreter\n', executable: true }];
    const result = await startOf({ files, command: ['./a'] });
    expect(result.outcome).toEqual({ kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' });
  });

  test('a file that stands where a folder is needed is named, and nothing runs', async () => {
    const files = [
      { path: 'a', content: 'file' },
      { path: 'a/b', content: 'beneath it' },
    ];
    const result = await startOf({ files, command: ['echo', 'ran'] });
    expect(result.outcome).toMatchObject({ kind: 'could_not_start', stage: 'files' });
    expect(result.stdout).toBe('');
  });

  test('a working folder that is a file could not be entered', async () => {
    const files = [{ path: 'a', content: 'file' }];
    const result = await startOf({ files, cwd: 'a', command: ['echo', 'ran'] });
    expect(result.outcome).toMatchObject({ kind: 'could_not_start', stage: 'cwd' });
  });
});
