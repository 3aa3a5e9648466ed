import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot, readCatalogue } from '../../shared/images.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-images-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const write = (text: string): string => {
  const file = path.join(folder, 'catalogue.json');
  writeFileSync(file, text);
  return file;
};
const entry = (over: object = {}) => ({ name: 'base', reference: 'x:latest', ...over });
const read = (content: unknown) => readCatalogue(write(JSON.stringify(content)));

describe('the catalogue of images', () => {
  it('of this package has the three that every user is told of', () => {
    const catalogue = readCatalogue(undefined);
    expect([...catalogue.keys()]).toEqual(['base', 'python', 'node']);
    for (const image of catalogue.values()) expect(image.script).toBeDefined();
    expect(path.basename(path.join(packageRoot, 'package.json'))).toBe('package.json');
  });

  it('of the operator stands in its place', () => {
    expect([...read([entry({ name: 'mine' })]).keys()]).toEqual(['mine']);
  });

  it('names the file that it cannot read', () => {
    const missing = path.join(folder, 'missing.json');
    expect(() => readCatalogue(missing)).toThrow(`The image catalogue ${missing} cannot be read`);
    const file = write('[{');
    expect(() => readCatalogue(file)).toThrow(`The image catalogue ${file} cannot be read`);
  });

  it.each([
    ['an empty list', []],
    ['something else than a list', { base: {} }],
    ['a name with a slash, which would be another repository', [entry({ name: 'a/b' })]],
    ['a name in capitals, which the engine refuses', [entry({ name: 'Base' })]],
    ['an empty name', [entry({ name: '' })]],
    ['no reference', [{ name: 'base' }]],
    ['a field that it does not have', [entry({ pull: true })]],
    ['an interpreter without a command', [entry({ script: { command: [], extension: 'sh' } })]],
    ['an extension that is a path', [entry({ script: { command: ['sh'], extension: '../x' } })]],
  ])('is refused with %s', (_, content) => {
    expect(() => read(content)).toThrow(/The image catalogue .* is not usable:\n/);
  });

  it('says everything that is wrong in it, and where', () => {
    const bad = [entry({ name: 'A' }), entry({ name: 'b', reference: '' })];
    expect(() => read(bad)).toThrow(/\[0\]\.name[\s\S]*\[1\]\.reference/);
  });

  it('is refused when two images have one name: one of them would silently be another', () => {
    expect(() => read([entry(), entry({ reference: 'y:latest' })])).toThrow(/base/);
  });
});
