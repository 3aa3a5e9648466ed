import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLoopback, keyFile, resolveKey } from '../../services/api/config.ts';
import { parseSettings, SettingsError } from '../../shared/config/settings.ts';

let folder: string;
beforeEach(() => {
  folder = path.join(mkdtempSync(path.join(os.tmpdir(), 'cofferdam-key-')), 'data');
});
afterEach(() => rmSync(path.dirname(folder), { recursive: true, force: true }));

const settings = (env: Record<string, string> = {}) =>
  parseSettings({ COFFERDAM_DATA_DIR: folder, ...env });
const OWN = 'o'.repeat(40);

describe('the key that callers send', () => {
  it('is the operator’s own where there is one, and is kept in no file', () => {
    expect(resolveKey(settings({ COFFERDAM_DEV_KEY: OWN }))).toEqual({ key: OWN, file: undefined });
    expect(existsSync(folder)).toBe(false);
  });

  it('is made once, long and random, in a file that only its owner reads', () => {
    const made = resolveKey(settings());
    expect(made.key).toMatch(/^cfd_[A-Za-z0-9_-]{43}$/);
    expect(made.file).toBe(keyFile(folder));
    expect(statSync(keyFile(folder)).mode & 0o777).toBe(0o600);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(readFileSync(keyFile(folder), 'utf8').trim()).toBe(made.key);
    expect(resolveKey(settings())).toEqual(made);
  });

  it('is only for its owner whatever the process’s umask is', () => {
    const before = process.umask(0o000);
    try {
      resolveKey(settings());
      expect(statSync(keyFile(folder)).mode & 0o777).toBe(0o600);
    } finally {
      process.umask(before);
    }
  });

  it('differs from folder to folder', () => {
    const other = parseSettings({ COFFERDAM_DATA_DIR: `${folder}-other` });
    expect(resolveKey(settings()).key).not.toBe(resolveKey(other).key);
  });

  it('is never empty, even where a crash left an empty file', () => {
    resolveKey(settings());
    writeFileSync(keyFile(folder), '');
    let key = 'refused';
    try {
      key = resolveKey(settings()).key;
    } catch (error) {
      expect((error as Error).message).toContain(keyFile(folder));
    }
    expect(key.length).toBeGreaterThan(0);
  });

  it.skipIf(process.getuid?.() === 0)('is a fault when its file cannot be read', () => {
    resolveKey(settings());
    chmodSync(keyFile(folder), 0);
    expect(() => resolveKey(settings())).toThrow(/EACCES/);
  });

  it.each(['0.0.0.0', '::', '192.168.1.5', 'example.org'])(
    'must be chosen where others can reach the API (%s)',
    (host) => {
      expect(() => resolveKey(settings({ COFFERDAM_HOST: host }))).toThrow(SettingsError);
      expect(() => resolveKey(settings({ COFFERDAM_HOST: host }))).toThrow(/COFFERDAM_DEV_KEY/);
      expect(existsSync(keyFile(folder))).toBe(false);
      const own = settings({ COFFERDAM_HOST: host, COFFERDAM_DEV_KEY: OWN });
      expect(resolveKey(own).key).toBe(OWN);
    },
  );
});

describe('an address that only this machine reaches', () => {
  it.each(['localhost', '127.0.0.1', '127.255.0.1', '::1'])('is %s', (host) => {
    expect(isLoopback(host)).toBe(true);
  });

  it.each([
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '128.0.0.1',
    'localhost.example.org',
    '127.0.0.1.example.org',
    '127.1',
    '::ffff:10.0.0.1',
    '',
  ])('is not %j', (host) => {
    expect(isLoopback(host)).toBe(false);
  });
});
