import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keptSecret } from '../../shared/kept-secret.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-secret-'));
  file = path.join(folder, 'data', 'secret');
});
afterEach(() => rmSync(folder, { recursive: true }));

let made = 0;
const secret = () => keptSecret(file, /^made-\d+$/, () => `made-${++made}`);

describe('a kept secret', () => {
  it('is made once, kept for nobody else to read, and found again', () => {
    const first = secret();
    expect(secret()).toBe(first);
    expect(readFileSync(file, 'utf8')).toBe(`${first}\n`);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(path.dirname(file)).mode & 0o777).toBe(0o700);
    expect(readdirSync(path.dirname(file))).toEqual(['secret']);
  });

  it('is made again where something else is left', () => {
    const first = secret();
    writeFileSync(file, first.slice(0, 3));
    expect(secret()).not.toBe(first);
  });

  it('is not made anew where the file cannot be read', () => {
    mkdirSync(file, { recursive: true });
    expect(secret).toThrow(/EISDIR/);
  });
});
