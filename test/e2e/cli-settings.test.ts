/** `cofferdam doctor`, and what the other commands refuse to start with. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, inject, test } from 'vitest';
import { run } from './command-line.ts';

const server = inject('server');
const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('doctor', () => {
  test('finds everything in order, and exits with 0', async () => {
    const { code, stdout } = await run(['doctor'], { env: { COFFERDAM_DATA_DIR: server.dataDir } });
    expect(stdout).not.toContain('FAULT');
    expect(code).toBe(0);
    for (const what of [
      'node',
      'settings',
      'guest',
      'redis',
      'engine',
      'runtime runc',
      'seccomp',
      'image base',
      'image python',
      'image node',
    ]) {
      expect(stdout).toMatch(new RegExp(`ok +${what}`));
    }
  });

  test('prints the same for programs with --json', async () => {
    const { code, stdout } = await run(['doctor', '--json'], {
      env: { COFFERDAM_DATA_DIR: server.dataDir },
    });
    expect(code).toBe(0);
    for (const finding of JSON.parse(stdout))
      expect(finding).toMatchObject({ state: 'ok', mend: '' });
  });

  test.each([
    ['settings', { COFFERDAM_SLOTS: '0' }, 'COFFERDAM_SLOTS'],
    [
      'an engine that is not there',
      { COFFERDAM_ENGINE: 'unix:///nowhere/docker.sock' },
      'scripts/setup',
    ],
    [
      'a Redis that is not there',
      { COFFERDAM_REDIS_URL: 'redis://127.0.0.1:9' },
      'COFFERDAM_REDIS_URL',
    ],
  ])('exits with 1 and says how to mend %s', async (_name, settings, mend) => {
    const { code, stdout, stderr } = await run(['doctor'], {
      env: settings as Record<string, string>,
    });
    expect(code).toBe(1);
    expect(stdout).toContain('FAULT');
    expect(stdout).toContain(mend);
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});

describe('what does not start', () => {
  const refusal = async (args: string[], settings: Record<string, string>): Promise<string> => {
    const data = { COFFERDAM_DATA_DIR: path.join(folder, 'data'), COFFERDAM_PORT: '0' };
    const { code, stderr } = await run(args, { env: { ...data, ...settings }, cwd: folder });
    expect(code).toBe(1);
    expect(stderr).not.toMatch(/\n\s+at /);
    return stderr;
  };

  test('serve lists every fault of its settings at once', async () => {
    const stderr = await refusal(['serve'], {
      COFFERDAM_PORT: 'abc',
      COFFERDAM_SLOTS: '0',
      COFFERDAM_FOO: '1',
      COFFERDAM_MAX_MEMORY_MB: '-5',
      COFFERDAM_DEV_KEY: 'short-secret',
    });
    for (const text of [
      'COFFERDAM_PORT',
      '"abc"',
      'COFFERDAM_SLOTS',
      'COFFERDAM_FOO',
      'COFFERDAM_MAX_MEMORY_MB',
      'COFFERDAM_DEV_KEY',
    ]) {
      expect(stderr).toContain(text);
    }
    expect(stderr).not.toContain('short-secret');
  });

  test('serve and api refuse an open address without a key of the operator', async () => {
    const open = { COFFERDAM_HOST: '0.0.0.0', COFFERDAM_REDIS_URL: 'redis://127.0.0.1:9' };
    expect(await refusal(['api'], open)).toMatch(/COFFERDAM_DEV_KEY.*0\.0\.0\.0/);
    expect(await refusal(['serve'], { COFFERDAM_HOST: '::' })).toContain('COFFERDAM_DEV_KEY');
  });

  test('api and worker refuse to be without a Redis to share', async () => {
    expect(await refusal(['api'], {})).toContain('COFFERDAM_REDIS_URL');
    expect(await refusal(['worker'], {})).toContain('COFFERDAM_REDIS_URL');
  });

  test('an unknown image, catalogue or engine is named', async () => {
    expect(await refusal(['serve'], { COFFERDAM_DEFAULT_IMAGE: 'nope' })).toContain('nope');
    expect(await refusal(['serve'], { COFFERDAM_IMAGES: '/no/such/file' })).toContain(
      '/no/such/file',
    );
    expect(await refusal(['serve'], { COFFERDAM_ENGINE: 'unix:///nowhere/docker.sock' })).toContain(
      '/nowhere/docker.sock',
    );
  });

  test('a port that is taken is named', async () => {
    const { port } = new URL(server.url);
    expect(await refusal(['serve'], { COFFERDAM_PORT: port })).toContain(port);
  });
});
