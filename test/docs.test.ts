import { existsSync, readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { createWorkerMetrics } from '../services/worker/metrics.ts';
import { LIMIT_SETTINGS, SETTINGS } from '../shared/config/settings.ts';
import { ERRORS } from '../shared/error-table.ts';
import { createMetrics, type Metrics } from '../shared/metrics.ts';

const DOCS = path.resolve(import.meta.dirname, '../docs');
const SERVICES = path.resolve(import.meta.dirname, '../services');
const read = (name: string): string => readFileSync(path.join(DOCS, name), 'utf8');

/** The cells of the table with this head, row by row; marks of code are left out. */
function tableOf(page: string, ...head: string[]): string[][] {
  const lines = read(page).split('\n');
  const cellsOf = (line: string): string[] =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) =>
        cell
          .trim()
          .replaceAll('\\|', '|')
          .replace(/^`([^`]*)`$/, '$1'),
      );
  const at = lines.findIndex((line) => cellsOf(line).join() === head.join());
  expect(at, `a table with ${head.join(', ')}`).toBeGreaterThanOrEqual(0);
  const rest = lines.slice(at + 2);
  const end = rest.findIndex((line) => !line.startsWith('|'));
  return rest.slice(0, end < 0 ? rest.length : end).map(cellsOf);
}

describe('docs/errors.md', () => {
  it('has the rows of the error table, all of them and no other', () => {
    const rows = tableOf('errors.md', 'code', 'status', 'retryable', 'meaning', 'what to do');
    const expected = Object.entries(ERRORS).map(([code, row]) => [
      code,
      String(row.status),
      row.retryable ? 'yes' : 'no',
      row.message,
      row.remedy,
    ]);
    expect(rows.toSorted()).toEqual(expected.toSorted());
  });
});

describe('docs/configuration.md', () => {
  /** A default that depends on the machine is described there. */
  const defaultOf = (name: string, fallback: string | undefined): string => {
    if (fallback === undefined) return 'none';
    const isCores = name === 'COFFERDAM_SLOTS' && fallback === String(os.availableParallelism());
    return isCores ? 'number of cores' : fallback;
  };

  it('has the rows of the settings, all of them and no other', () => {
    const rows = tableOf('configuration.md', 'variable', 'default', 'meaning');
    const expected = Object.entries({ ...SETTINGS, ...LIMIT_SETTINGS }).map(
      ([name, { fallback, meaning }]) => [name, defaultOf(name, fallback), meaning],
    );
    expect(rows.toSorted()).toEqual(expected.toSorted());
  });
});

describe('docs/metrics.md', () => {
  type Row = [name: string, type: string, labels: string, meaning: string];

  /** What the code of the API registers, read from its text: making its parts needs a whole server. */
  function registeredByText(file: string): Row[] {
    const text = readFileSync(path.join(SERVICES, file), 'utf8');
    const call =
      /metrics\.(counter|gauge|histogram)\(\s*'(\w+)',\s*'([^']+)',\s*(?:seconds\.\w+,?\s*)?(?:\[([^\]]*)\])?/g;
    return [...text.matchAll(call)].map(
      ([, type, name, help, labels]): Row => [
        `cofferdam_${name}`,
        type ?? '',
        (labels ?? '').replace(/['\s]/g, '').replace(/,$/, '').replaceAll(',', ', '),
        help ?? '',
      ],
    );
  }

  it('has the metrics that the code registers, all of them and no other', () => {
    const registered: Row[] = [];
    const heard =
      (type: string) =>
      (name: string, help: string, ...rest: unknown[]): never => {
        const labels = rest.find((one) => Array.isArray(one) && typeof one[0] !== 'number');
        registered.push([`cofferdam_${name}`, type, ((labels as string[]) ?? []).join(', '), help]);
        return (() => {}) as never;
      };
    const metrics: Metrics = {
      ...createMetrics(),
      counter: heard('counter'),
      gauge: heard('gauge'),
      histogram: heard('histogram'),
    };
    createWorkerMetrics(metrics).watch(() => {
      throw new Error('nothing is read here');
    });
    for (const file of ['api/main.ts', 'api/work.ts', 'api/server.ts', 'api/callbacks/metrics.ts'])
      registered.push(...registeredByText(file));
    const rows = tableOf('metrics.md', 'metric', 'type', 'labels', 'meaning');
    expect(rows.toSorted()).toEqual(registered.toSorted());
  });
});

describe('docs/security.md', () => {
  const TESTS = path.resolve(import.meta.dirname);
  /** What the titles of tests begin with: one id, or a few. */
  const titled = new Set(
    (readdirSync(TESTS, { recursive: true }) as string[])
      .filter((file) => file.endsWith('.test.ts'))
      .flatMap((file) => [
        ...readFileSync(path.join(TESTS, file), 'utf8').matchAll(/['`]((?:[A-Z]\d\d )+)(?=\S)/g),
      ])
      .flatMap(([, ids = '']) => ids.trim().split(' ')),
  );

  it('names by their ids tests that there are', () => {
    const head = ['wall', 'what attacks it', 'flag or line', 'rows'];
    const named = read('security.md').match(/\b[A-Z]\d\d\b/g) ?? [];
    expect(tableOf('security.md', ...head).length).toBeGreaterThan(10);
    expect(new Set(named).size).toBeGreaterThan(60);
    expect([...new Set(named)].filter((id) => !titled.has(id))).toEqual([]);
  });
});

describe('docs/guarantees.md', () => {
  const textOf = (file: string): string =>
    existsSync(path.join(DOCS, '..', file))
      ? readFileSync(path.join(DOCS, '..', file), 'utf8')
      : `there is no ${file}`;

  it('names a test for each promise, and every test that it names exists', () => {
    const rows = tableOf('guarantees.md', 'promise', 'test', 'title');
    const promised = [...read('guarantees.md').matchAll(/^\*\*(G\d+) /gm)].map(([, id]) => id);
    expect(promised.length).toBeGreaterThan(10);
    expect(new Set(rows.map(([id]) => id))).toEqual(new Set(promised));
    const missing = rows.filter(([, file = '', title = '']) => !textOf(file).includes(title));
    expect(missing).toEqual([]);
  });

  it('names for each row of the fault matrix the files that have a test of that id', () => {
    const rows = tableOf('guarantees.md', 'row', 'what happens', 'test');
    expect(rows.length).toBeGreaterThan(20);
    const missing = rows.flatMap(([id = '', , files = '']) =>
      files
        .split(' ')
        .map((file) => file.replaceAll('`', ''))
        .filter((file) => !textOf(file).includes(`${id}: `))
        .map((file) => `${id} in ${file}`),
    );
    expect(missing).toEqual([]);
  });
});

describe('every page', () => {
  const pages = [
    'errors.md',
    'configuration.md',
    'metrics.md',
    'architecture.md',
    'guarantees.md',
    'security.md',
    'hardening.md',
  ];

  it.each(pages)('%s names only files of this project that exist', (page) => {
    const root = path.dirname(DOCS);
    const names = [
      ...read(page).matchAll(
        /`((?:services|shared|images|scripts|test|docs|deploy|bench)\/[\w./-]*)`/g,
      ),
    ];
    const missing = names
      .map(([, name]) => name ?? '')
      .filter((name) => !existsSync(path.join(root, name)));
    expect(missing).toEqual([]);
  });
});
