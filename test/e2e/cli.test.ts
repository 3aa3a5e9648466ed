/** `cofferdam exec` against a real server. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, inject, test } from 'vitest';
import { run } from './command-line.ts';

const server = inject('server');
const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const env = { COFFERDAM_URL: server.url, COFFERDAM_DEV_KEY: server.key };
const exec = (args: string[], stdin?: string) =>
  run(['exec', ...args], { env, cwd: folder, ...(stdin === undefined ? {} : { stdin }) });

describe('exec', () => {
  test.each([0, 3, 255])(
    'prints both streams and exits with %i as the program did',
    async (code) => {
      expect(await exec(['--', 'sh', '-c', `echo out; echo err >&2; exit ${code}`])).toEqual({
        code,
        stdout: 'out\n',
        stderr: 'err\n',
      });
    },
  );

  test('prints bytes as they are', async () => {
    const { stdout } = await exec(['--', 'printf', 'a\\0b\\n日本']);
    expect(stdout).toBe('a\0b\n日本');
  });

  test('hands options after -- to the program', async () => {
    expect(await exec(['--', 'echo', '--json', '-o', '--', 'x'])).toMatchObject({
      code: 0,
      stdout: '--json -o -- x\n',
    });
  });

  test('exits with 124 on a timeout, with the output so far and the cause', async () => {
    const { code, stdout, stderr } = await exec([
      '--timeout',
      '600',
      '--',
      'sh',
      '-c',
      'echo part; sleep 60',
    ]);
    expect([code, stdout]).toEqual([124, 'part\n']);
    expect(stderr).toContain('timed out (wall time)');
  });

  test.each([
    ['TERM', 143],
    ['KILL', 137],
    ['SEGV', 139],
    ['XFSZ', 153],
  ])('exits with 128 and the number of SIG%s', async (signal, expected) => {
    const { code, stderr } = await exec(['--', 'sh', '-c', `kill -${signal} $$`]);
    expect(code).toBe(expected);
    expect(stderr).toContain(`SIG${signal}`);
  });

  test('exits with 137 and the cause when out of memory', async () => {
    const hog = 'hog = bytearray(b"x") * (400 << 20)';
    const { code, stderr } = await exec([
      '--image',
      'python',
      '--memory',
      '64',
      '--',
      'python3',
      '-c',
      hog,
    ]);
    expect(code).toBe(137);
    expect(stderr).toContain('out of memory');
  });

  test('exits with 127 and 126 when there is no such program, or it is none', async () => {
    const missing = await exec(['--', 'no-such-program']);
    expect(missing.code).toBe(127);
    expect(missing.stderr).toContain('ENOENT');
    expect((await exec(['--', '/etc'])).code).toBe(126);
  });

  test('sends files and environment, and saves what was collected', async () => {
    const bytes = Buffer.from([0, 1, 254, 255]);
    writeFileSync(path.join(folder, 'a.bin'), bytes);
    const { code, stdout } = await exec([
      '--file',
      'a.bin',
      '--file',
      'in/b.bin=a.bin',
      '--env',
      'WORD=x=y',
      '--collect',
      'out/**',
      '-o',
      'saved',
      '--',
      'sh',
      '-c',
      'mkdir -p out/deep; cat a.bin in/b.bin > out/deep/c.bin; echo $WORD',
    ]);
    expect([code, stdout]).toEqual([0, 'x=y\n']);
    const saved = readFileSync(path.join(folder, 'saved/out/deep/c.bin'));
    expect(saved).toEqual(Buffer.concat([bytes, bytes]));
  });

  test('prints the whole result with --json', async () => {
    const { code, stdout } = await exec([
      '--json',
      '--label',
      'a=b',
      '--',
      'sh',
      '-c',
      'echo x; exit 5',
    ]);
    expect(code).toBe(5);
    expect(JSON.parse(stdout)).toMatchObject({
      outcome: { kind: 'exited', exitCode: 5 },
      stdout: 'x\n',
      labels: { a: 'b' },
    });
  });

  test('reads standard input with -i, and only then', async () => {
    expect((await exec(['-i', '--', 'tr', 'a-z', 'A-Z'], 'naïve text')).stdout).toBe('NAïVE TEXT');
    expect((await exec(['--', 'wc', '-c'], 'unread')).stdout.trim()).toBe('0');
  });

  test('says that output was cut', async () => {
    const { stdout, stderr } = await exec([
      '--',
      'sh',
      '-c',
      'head -c 3000000 /dev/zero | tr "\\0" x',
    ]);
    expect(stdout).toHaveLength(1024 * 1024);
    expect(stderr).toContain('3000000 bytes of stdout');
  });

  test.each([
    ['an unknown image', ['--image', 'nope', '--', 'true'], /IMAGE_UNKNOWN.*base, python, node/],
    ['a limit above the ceiling', ['--memory', '999999', '--', 'true'], /memoryMb.*2048/],
    ['a limit that is no number', ['--timeout', '5s', '--', 'true'], /--timeout.*5s/],
    ['a file that is not there', ['--file', 'missing', '--', 'true'], /missing/],
    ['an environment without a name', ['--env', 'x', '--', 'true'], /--env.*NAME=VALUE/],
    ['an unknown option', ['--nope', '--', 'true'], /--nope/],
    ['no command', [], /command/],
  ])('refuses %s in one clear line, without a stack', async (_name, args, message) => {
    const { code, stdout, stderr } = await exec(args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test('says where it looked when no server answers, or the key is not right', async () => {
    const away = await run(['exec', '--', 'true'], {
      env: { ...env, COFFERDAM_URL: 'http://127.0.0.1:9' },
    });
    expect(away.code).toBe(1);
    expect(away.stderr).toMatch(/No answer from http:\/\/127\.0\.0\.1:9.*npm start/);
    const wrong = await run(['exec', '--', 'true'], {
      env: { ...env, COFFERDAM_DEV_KEY: 'x'.repeat(40) },
    });
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('UNAUTHENTICATED');
    const none = await run(['exec', '--', 'true'], {
      env: { COFFERDAM_URL: server.url },
      cwd: folder,
    });
    expect(none.code).toBe(1);
    expect(none.stderr).toContain('COFFERDAM_DEV_KEY');
  });
});
