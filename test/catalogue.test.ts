/** The rows of the catalogue of attacks, and the tests that bear their ids. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { RUNTIMES } from '../shared/runtimes.ts';
import { CATALOGUE, idsOf } from './escape/catalogue.ts';

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'test'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file.endsWith('.test.ts'));

/** Every string in a test file that begins with ids: a title, or the part of one that a table gives. */
const titlesOf = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/['"`]((?:[TMPOFAEI]\d\d )+[^'"`]*)/g)].map(
    ([, title]) => title ?? '',
  );
const titles = files.flatMap((file) => titlesOf(file).map((title) => ({ file, title })));
const tested = new Set(titles.flatMap(({ title }) => idsOf(title)));

describe('the catalogue of attacks', () => {
  it('has a test for every row, or says why there is none', () => {
    const untested = Object.entries(CATALOGUE).filter(
      ([id, { none }]) => !tested.has(id) && !RUNTIMES.every((runtime) => none?.[runtime]),
    );
    expect(untested.map(([id]) => id)).toEqual([]);
  });

  it('has a row for every id that a test bears', () => {
    expect([...tested].filter((id) => !Object.hasOwn(CATALOGUE, id))).toEqual([]);
  });

  it('has no test for a row of which it says that there is none', () => {
    const none = Object.entries(CATALOGUE).filter(([, row]) =>
      RUNTIMES.every((runtime) => row.none?.[runtime]),
    );
    expect(none.map(([id]) => id).filter((id) => tested.has(id))).toEqual([]);
  });
});
