/** What a job is given: files, environment, working folder, standard input, scripts. */
import { createHash } from 'node:crypto';
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';

const api = callerOf(inject('server'));
const sh = (text: string) => ({ command: ['sh', '-c', text] });

describe('command', () => {
  test('arguments arrive byte for byte and without a shell', async () => {
    const args = ['', ' ', '$HOME', '*', 'a\nb', '\'"`\\', '--', 'naïve 日本 😀', '\u007f\u0001'];
    const result = await api.run({ command: ['printf', '<%s>', ...args] });
    expect(result.stdout).toBe(args.map((arg) => `<${arg}>`).join(''));
  });

  test('as many arguments as there may be, and one of the greatest size, arrive', async () => {
    const many = Array.from({ length: 253 }, (_, at) => `${at}`);
    const all = await api.run({ command: ['sh', '-c', 'echo $#', ...many] });
    expect(all.stdout).toBe('252\n');
    const large = 'x'.repeat(131_071);
    const one = await api.run({ command: ['sh', '-c', 'printf %s "$1" | wc -c', 'sh', large] });
    expect(one.stdout.trim()).toBe('131071');
  });
});

describe('files', () => {
  test('text and base64, in folders that are made for them', async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, at) => at));
    const result = await api.run({
      files: [
        { path: 'a.txt', content: 'naïve 日本 😀\n' },
        { path: 'deep/er/still/b.bin', content: bytes.toString('base64'), encoding: 'base64' },
        { path: 'empty', content: '' },
        { path: '.hidden/file with space', content: 'x' },
        { path: 'naïve 日本.txt', content: 'unicode' },
      ],
      ...sh(
        'cat a.txt; cat deep/er/still/b.bin | sha256sum; wc -c < empty; cat ".hidden/file with space" naïve*',
      ),
    });
    expect(result.stderr).toBe('');
    expect(result.stdout).toBe(
      `naïve 日本 😀\n${createHash('sha256').update(bytes).digest('hex')}  -\n0\nxunicode`,
    );
  });

  test('a file is executable when that was asked, and only then', async () => {
    const result = await api.run({
      files: [
        { path: 'run', content: '#!/bin/sh\necho ran\n', executable: true },
        { path: 'stay', content: '#!/bin/sh\necho ran\n' },
      ],
      ...sh('./run; test -x stay || echo "stay is not"'),
    });
    expect(result.stdout).toBe('ran\nstay is not\n');
  });

  test('a file may be changed, and its folder written to', async () => {
    const result = await api.run({
      files: [{ path: 'folder/a', content: 'old' }],
      ...sh(
        'echo new > folder/a && touch folder/b && mv folder renamed && cat renamed/a && ls renamed',
      ),
    });
    expect(result.stdout).toBe('new\na\nb\n');
  });

  test('a thousand files arrive', async () => {
    const files = Array.from({ length: 1_000 }, (_, at) => ({
      path: `d${at % 10}/f${at}`,
      content: `${at}`,
    }));
    const result = await api.run({ files, ...sh('find . -type f | wc -l; cat d9/f999') });
    expect(result.stdout.trim()).toBe('1000\n999');
  });

  test('files that do not fit into the workspace are refused before anything starts', async () => {
    const response = await api.send('/v1/jobs', {
      method: 'POST',
      body: {
        files: [{ path: 'a', content: 'x'.repeat(2 << 20) }],
        limits: { workspaceMb: 1 },
        command: ['true'],
      },
    });
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ code: 'LIMIT_ABOVE_CEILING', field: 'files' });
  });

  test('one job finds nothing of another', async () => {
    const write = sh('touch /work/left /tmp/left /dev/shm/left 2>/dev/null; true');
    for (let at = 0; at < 3; at++) await api.run(write);
    const result = await api.run(sh('ls -A /work /tmp'));
    expect(result.stdout).toBe('/tmp:\n\n/work:\n');
  });
});

describe('working folder and environment', () => {
  test('a job starts in /work, or beneath it in a folder that is made', async () => {
    expect((await api.run({ command: ['pwd'] })).stdout).toBe('/work\n');
    expect((await api.run({ command: ['pwd'], cwd: 'a/b c/é' })).stdout).toBe('/work/a/b c/é\n');
    const among = await api.run({
      files: [{ path: 'src/a', content: 'in it' }],
      cwd: 'src',
      command: ['cat', 'a'],
    });
    expect(among.stdout).toBe('in it');
  });

  test('the environment holds the base variables and nothing else', async () => {
    const result = await api.run({ command: ['env'] });
    expect(result.stdout.trim().split('\n').sort()).toEqual([
      'HOME=/work',
      'LANG=C.UTF-8',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'TMPDIR=/tmp',
    ]);
  });

  test("the caller's variables arrive as they are and stand above the base ones", async () => {
    const value = ' $HOME "x"\n\'y\' = 日本 ';
    const result = await api.run({
      env: { OWN: value, EMPTY: '', HOME: '/tmp', __proto: 'x', constructor: 'y' },
      command: ['env', '-0'],
    });
    const variables = result.stdout.split('\0');
    for (const one of [`OWN=${value}`, 'EMPTY=', 'HOME=/tmp', '__proto=x', 'constructor=y']) {
      expect(variables).toContain(one);
    }
    expect(variables).not.toContain('HOME=/work');
  });
});

describe('standard input', () => {
  test('is empty and at its end when none was given', async () => {
    const result = await api.run({ command: ['wc', '-c'] });
    expect(result.stdout.trim()).toBe('0');
    expect((await api.run({ command: ['wc', '-c'], stdin: '' })).stdout.trim()).toBe('0');
  });

  test('is text as it was sent, with NUL and any character', async () => {
    const stdin = 'naïve\0日本 😀\r\n\ttail';
    const result = await api.run({ command: ['cat'], stdin });
    expect(result.stdout).toBe(stdin);
  });

  const LARGE = 'cofferdam 0123456789abcdef\n'.repeat(10_000_000 / 25);

  test('of ten megabytes is read to its last byte', async () => {
    const result = await api.run({ command: ['sha256sum'], stdin: LARGE, timeoutMs: 60_000 });
    expect(result.stdout).toBe(`${createHash('sha256').update(LARGE).digest('hex')}  -\n`);
    expect(result.attempt).toBe(1);
  });

  test('of ten megabytes that nobody reads holds nothing up', async () => {
    const unread = await api.run({ command: ['true'], stdin: LARGE });
    expect(unread.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    const some = await api.run({ command: ['head', '-c', '9'], stdin: LARGE });
    expect(some).toMatchObject({ outcome: { kind: 'exited', exitCode: 0 }, stdout: 'cofferdam' });
    const closed = await api.run({ ...sh('exec 0<&-; sleep 0.3; echo late'), stdin: LARGE });
    expect(closed).toMatchObject({ outcome: { kind: 'exited', exitCode: 0 }, stdout: 'late\n' });
  });

  test('that nobody reads does not keep a timeout from its time', async () => {
    const result = await api.run({ command: ['sleep', '60'], stdin: LARGE, timeoutMs: 700 });
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
  });

  test.each([1, 1_000, 32_768, 65_536, 65_537, 200_000])(
    'of %i bytes is never the loss of a sandbox, however often it is sent',
    async (length) => {
      const stdin = 'x'.repeat(length);
      const results = await Promise.all(
        Array.from({ length: 20 }, () => api.run({ command: ['wc', '-c'], stdin, onLost: 'fail' })),
      );
      for (const { outcome, stdout } of results) {
        expect(outcome).toEqual({ kind: 'exited', exitCode: 0 });
        expect(stdout.trim()).toBe(String(length));
      }
    },
  );
});

describe('script', () => {
  test('runs in the shell of base, with standard input free', async () => {
    const result = await api.run({
      script: 'read line; echo "got $line in $(pwd)"',
      stdin: 'in\n',
    });
    expect(result.stdout).toBe('got in in /work\n');
  });

  test('runs in python3 of python and finds the modules beside it', async () => {
    const result = await api.run({
      image: 'python',
      files: [
        { path: 'sibling.py', content: 'answer = 42\n' },
        { path: 'package/__init__.py', content: 'name = "inner"\n' },
      ],
      script: 'import sys, sibling, package\nprint(sibling.answer, package.name, sys.stdin.read())',
      stdin: 'in',
    });
    expect(result).toMatchObject({ stdout: '42 inner in\n', stderr: '' });
  });

  test('runs in node of node and finds the modules beside it', async () => {
    const result = await api.run({
      image: 'node',
      files: [{ path: 'sibling.js', content: 'exports.answer = 42;\n' }],
      script:
        "const { answer } = require('./sibling.js');\nprocess.stdin.on('data', (d) => console.log(answer, String(d)));",
      stdin: 'in',
    });
    expect(result).toMatchObject({ outcome: { kind: 'exited' }, stdout: '42 in\n', stderr: '' });
  });

  test('finds its siblings also when it starts in another folder', async () => {
    const result = await api.run({
      image: 'python',
      cwd: 'elsewhere',
      files: [{ path: 'sibling.py', content: 'answer = 42\n' }],
      script: 'import os, sibling\nprint(sibling.answer, os.getcwd())',
    });
    expect(result).toMatchObject({ stdout: '42 /work/elsewhere\n', stderr: '' });
  });

  test('that fails to parse is a fault of the program', async () => {
    const result = await api.run({ image: 'python', script: 'def broken(:\n' });
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 1 }, fault: 'program' });
    expect(result.stderr).toContain('SyntaxError');
  });
});
