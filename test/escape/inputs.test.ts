/** What a caller lays out: a path is beneath /work and nothing else, a file is a file and nothing else. */
import { describe, expect, test } from 'vitest';
import { api, expectNothingLeft } from './attack.ts';

const refused = async (file: Record<string, unknown>): Promise<string> => {
  const body = { command: ['true'], files: [file] };
  const response = await api.send('/v1/jobs', { method: 'POST', body });
  expect(response.status).toBe(400);
  return ((await response.json()) as { code: string }).code;
};

describe('files', () => {
  test.each([
    ['A01 climb', ['../x', 'a/../../x', '/etc/x', '/work/../etc/x']],
    ['A02 are of another system', ['a\\..\\x', 'C:\\x', '\\\\host\\x', 'a\\x']],
    ['A11 are no names', ['', '.', '..', 'a//b', 'a/', 'a\0b', 'a\nb', 'x'.repeat(5000), 'a/./b']],
  ])('%s and are refused', async (_, paths) => {
    for (const path of paths) expect(await refused({ path, content: '' })).toBe('REQUEST_INVALID');
  });

  test('A02 with encoded dots are names like any other', async () => {
    const result = await api.run({
      files: [{ path: '..%2fx', content: 'here' }],
      command: ['sh', '-c', 'ls -A; ls -A /'],
    });
    expect(result.stdout.split('\n')[0]).toBe('..%2fx');
  });

  test.each([
    ['A03 a link', { link: '/etc/passwd' }],
    ['A04 a hard link', { hardLink: '/etc/passwd' }],
    ['A06 a device or a pipe', { type: 'fifo' }],
    ['A06 a sparse file', { size: 2 ** 40 }],
    ['A12 a mode or an owner', { mode: 0o4755, uid: 0 }],
  ])('%s cannot be asked for', async (_, field) => {
    expect(await refused({ path: 'x', content: '', ...field })).toBe('REQUEST_INVALID');
  });

  test('A09 are no more than there may be, and no deeper', async () => {
    const files = Array.from({ length: 100_000 }, (_, n) => ({ path: `f${n}`, content: '' }));
    const many = await api.send('/v1/jobs', { method: 'POST', body: { command: ['true'], files } });
    expect(many.status).toBe(400);
    const deep = await api.send('/v1/jobs', {
      method: 'POST',
      body: { command: ['true'], files: [{ path: `${'a/'.repeat(10_000)}x`, content: '' }] },
    });
    expect(deep.status).toBe(400);
  });

  test('A12 are of the job, with one of two modes and the time at which they were made', async () => {
    const began = Math.floor(Date.now() / 1000) - 60;
    const { stdout } = await api.run({
      files: [
        { path: 'plain', content: 'x' },
        { path: 'program', content: 'x', executable: true },
      ],
      command: ['sh', '-c', 'id -u; find plain program -printf "%m %U %G %Ts\\n"'],
    });
    const [uid, ...lines] = stdout.trim().split('\n');
    expect(lines.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
      `644 ${uid} ${uid}`,
      `755 ${uid} ${uid}`,
    ]);
    for (const line of lines) expect(Number(line.split(' ')[3])).toBeGreaterThan(began);
  });

  test('A14 by the fifty, of odd sizes, are whole and can be run at once', async () => {
    const head = '#!/bin/sh\nexit 0\n#';
    const files = Array.from({ length: 50 }, (_, n) => ({
      path: `p${n}`,
      content: head + 'x'.repeat(n * 997),
      executable: true,
    }));
    const script = 'for n in $(seq 0 49); do ./p$n || echo failed $n; wc -c < p$n; done';
    const { stdout } = await api.run({ files, command: ['sh', '-c', script], timeoutMs: 30_000 });
    expect(stdout.trim().split('\n').map(Number)).toEqual(
      files.map(({ content }) => content.length),
    );
  });
});

expectNothingLeft();
