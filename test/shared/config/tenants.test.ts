import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_TENANT, readTenants } from '../../../shared/config/tenants.ts';

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-tenants-'));
  file = path.join(folder, 'tenants.json');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const read = (content: unknown) => {
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return readTenants(file, 500);
};

const faultOf = (content: unknown): string => {
  try {
    read(content);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
};

const KEY = 'k'.repeat(32);
const OTHER = 'o'.repeat(32);
const plain = { keys: [], weight: 1, maxOpenJobs: 500, maxRunningJobs: null };

describe('the tenants of a server', () => {
  it('are the default one alone when no file names any', () => {
    expect([...readTenants(undefined, 500)]).toEqual([
      [DEFAULT_TENANT, { name: DEFAULT_TENANT, ...plain }],
    ]);
  });

  it('are those of the file beside the default one, with what it leaves open filled in', () => {
    const entry = { name: 'a-1', keys: [KEY], weight: 2.5, maxOpenJobs: 7, maxRunningJobs: 3 };
    expect(Object.fromEntries(read([entry, { name: 'b' }]))).toEqual({
      [DEFAULT_TENANT]: { name: DEFAULT_TENANT, ...plain },
      'a-1': entry,
      b: { name: 'b', ...plain },
    });
  });

  it('may hold the default one with bounds of its own', () => {
    const tenants = read([{ name: DEFAULT_TENANT, maxOpenJobs: 9, maxRunningJobs: 1 }]);
    expect([...tenants.keys()]).toEqual([DEFAULT_TENANT]);
    expect(tenants.get(DEFAULT_TENANT)).toEqual({
      ...plain,
      name: DEFAULT_TENANT,
      maxOpenJobs: 9,
      maxRunningJobs: 1,
    });
  });

  it('may have several keys each, and none', () => {
    expect(read([{ name: 'a', keys: [KEY, OTHER] }]).get('a')?.keys).toEqual([KEY, OTHER]);
    expect(read([]).size).toBe(1);
  });
});

describe('a file of tenants that is not usable', () => {
  it('is named, with the variable that names it', () => {
    expect(faultOf('[')).toMatch(
      new RegExp(`^COFFERDAM_TENANTS: the file ${file} is not usable: .*JSON`),
    );
  });

  it('is one that is not there', () => {
    const missing = path.join(folder, 'missing.json');
    expect(() => readTenants(missing, 500)).toThrow(/COFFERDAM_TENANTS: .*missing\.json.*ENOENT/);
  });

  it.each([
    ['no list', { name: 'a' }, /expected array/],
    ['a name in capitals', [{ name: 'A' }], /digits and dashes[\s\S]*\[0\]\.name/],
    ['an empty name', [{ name: '' }], /lower-case/],
    ['a name that begins with a dash', [{ name: '-a' }], /lower-case/],
    ['a name of 64 letters', [{ name: 'a'.repeat(64) }], /lower-case/],
    ['no name', [{ keys: [] }], /\[0\]\.name/],
    ['a short key', [{ name: 'a', keys: ['short'] }], /32 to 512 printable[\s\S]*\[0\]\.keys\[0\]/],
    ['a key with a space', [{ name: 'a', keys: [`${KEY} x`] }], /32 to 512 printable/],
    ['a weight of 0', [{ name: 'a', weight: 0 }], />=0\.01[\s\S]*\[0\]\.weight/],
    ['a weight of 101', [{ name: 'a', weight: 101 }], /<=100/],
    ['a bound of 0', [{ name: 'a', maxOpenJobs: 0 }], />0[\s\S]*\[0\]\.maxOpenJobs/],
    ['half a job', [{ name: 'a', maxRunningJobs: 1.5 }], /int[\s\S]*\[0\]\.maxRunningJobs/],
    ['a misspelt field', [{ name: 'a', wieght: 2 }], /wieght/],
    ['a name twice', [{ name: 'a' }, { name: 'b' }, { name: 'a' }], /the tenant a twice/],
    [
      'a key twice',
      [
        { name: 'a', keys: [KEY] },
        { name: 'b', keys: [KEY] },
      ],
      /the same key/,
    ],
  ])('says what is wrong where: %s', (_, content, words) => {
    expect(faultOf(content)).toMatch(words);
  });

  it('lists every fault at once, and no key', () => {
    const fault = faultOf([
      { name: 'A', weight: 0 },
      { name: 'b', keys: ['a secret'] },
    ]);
    for (const place of ['[0].name', '[0].weight', '[1].keys[0]']) expect(fault).toContain(place);
    expect(fault).not.toContain('a secret');
    expect(
      faultOf([
        { name: 'a', keys: [KEY] },
        { name: 'b', keys: [KEY] },
      ]),
    ).not.toContain(KEY);
  });
});
