/** Limits and paths that cannot be: refused in words, with nothing recorded and nothing started. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';
import { invalid, nothingComesOfIt, OK, refused } from './refusing.ts';

const api = callerOf(inject('server'));
nothingComesOfIt();

describe('limits', () => {
  const NAMES = [
    'cpuMs',
    'memoryMb',
    'processes',
    'workspaceMb',
    'openFiles',
    'stdoutBytes',
    'stderrBytes',
    'artifactBytes',
  ];
  const REFUSED = ['0', '-1', '1.5', '1e400', '"5"', 'null', '[]', 'true', '9007199254740993'];

  test.each(NAMES)('T18 limits.%s is a whole positive number and nothing else', async (name) => {
    for (const value of REFUSED) {
      await invalid(`{"command":["true"],"limits":{"${name}":${value}}}`, `limits.${name}`);
    }
  });

  test.each(['timeoutMs', 'expiresInMs', 'retainMs'])('T18 %s is too', async (name) => {
    for (const value of REFUSED) await invalid(`{"command":["true"],"${name}":${value}}`, name);
  });

  test('T18 cpus may be a fraction, and nothing below or beside it', async () => {
    for (const value of ['0', '-1', '1e400', '"1"', 'null']) {
      await invalid(`{"command":["true"],"limits":{"cpus":${value}}}`, 'limits.cpus');
    }
  });

  test.each([
    ['timeoutMs', { timeoutMs: 600_001 }, 600_001, 600_000],
    ['expiresInMs', { expiresInMs: 604_800_001 }, 604_800_001, 604_800_000],
    ['retainMs', { retainMs: 604_800_001 }, 604_800_001, 604_800_000],
    ['limits.cpus', { limits: { cpus: 2.5 } }, 2.5, 2],
    ['limits.cpuMs', { limits: { cpuMs: 1_200_001 } }, 1_200_001, 1_200_000],
    ['limits.memoryMb', { limits: { memoryMb: 2_049 } }, 2_049, 2_048],
    ['limits.processes', { limits: { processes: 513 } }, 513, 512],
    ['limits.openFiles', { limits: { openFiles: 1_025 } }, 1_025, 1_024],
    ['limits.stdoutBytes', { limits: { stdoutBytes: 8_388_609 } }, 8_388_609, 8_388_608],
    ['limits.artifactBytes', { limits: { artifactBytes: 67_108_865 } }, 67_108_865, 67_108_864],
  ])(
    '%s above its ceiling is refused with the field, the value and the ceiling',
    async (field, asked, value, ceiling) => {
      const { detail } = await refused({ ...OK, ...asked }, 422, 'LIMIT_ABOVE_CEILING', field);
      expect(detail).toContain(field);
      expect(detail).toContain(String(value));
      expect(detail).toContain(String(ceiling));
    },
  );

  test('limits with which no sandbox could start are refused, not taken for a fault of the platform', async () => {
    for (const [name, value] of [
      ['memoryMb', 1],
      ['memoryMb', 3],
      ['cpus', 1e-9],
      ['cpus', 0.001],
      ['openFiles', 2],
    ] as const) {
      const body = { ...OK, limits: { [name]: value } };
      const response = await api.send('/v1/jobs', { method: 'POST', body });
      const { field, detail } = (await response.json()) as { field?: string; detail?: string };
      expect([name, value, response.status, field]).toEqual([
        name,
        value,
        expect.toBeOneOf([400, 422]),
        `limits.${name}`,
      ]);
      expect(detail).toContain(String(value));
    }
  });

  test('H34 a step may not have more time than its job, nor all steps more output than the ceiling', async () => {
    const step = (name: string, more = {}) => ({ name, command: ['true'], ...more });
    const late = { timeoutMs: 1_000, steps: [step('a', { timeoutMs: 1_001 })] };
    await refused(late, 422, 'LIMIT_ABOVE_CEILING', 'steps.0.timeoutMs');
    const much = { limits: { stdoutBytes: 5_000_000 }, steps: [step('a'), step('b')] };
    await refused(much, 422, 'LIMIT_ABOVE_CEILING', 'limits.stdoutBytes');
    const full = { ...OK, limits: { memoryMb: 64, workspaceMb: 64 } };
    await refused(full, 422, 'LIMIT_ABOVE_CEILING', 'limits.workspaceMb');
  });
});

describe('paths', () => {
  const BAD = [
    '',
    '/',
    '/etc/passwd',
    '..',
    '../a',
    'a/../b',
    'a/..',
    '.',
    './a',
    'a/./b',
    'a//b',
    'a/',
    '//a',
    'a\0b',
    'a\\b',
    '..\\a',
    'a\nb',
    '\u007f',
    '\ud800',
    'x'.repeat(256),
    `${'d/'.repeat(600)}f`,
    'é'.repeat(128),
  ];

  test.each(BAD.map((path) => [JSON.stringify(path).slice(0, 40), path]))(
    '%s is no path',
    async (_name, path) => {
      await invalid({ ...OK, files: [{ path, content: '' }] }, 'files.0.path');
      await invalid({ ...OK, cwd: path }, 'cwd');
      await invalid({ ...OK, collect: ['a', path] }, 'collect.1');
    },
  );

  test('a path given twice is refused', async () => {
    const file = { path: 'a/b', content: '' };
    expect((await invalid({ ...OK, files: [file, file] }, 'files')).detail).toContain('a/b');
  });

  test('content that is not what its encoding says is refused', async () => {
    for (const content of ['a', 'a===', 'YQ', 'Y Q=', 'YQ==\n', '_-8=', '😀']) {
      const files = [{ path: 'a', content, encoding: 'base64' }];
      await invalid({ ...OK, files }, 'files.0.content');
    }
    await invalid({ ...OK, files: [{ path: 'a', content: '\ud800' }] }, 'files.0.content');
    await invalid(
      { ...OK, files: [{ path: 'a', content: '', encoding: 'hex' }] },
      'files.0.encoding',
    );
  });
});
