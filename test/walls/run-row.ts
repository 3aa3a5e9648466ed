/** One row of the tests, run against a server of its own whose engine is a proxy. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { packageRoot } from '../../shared/images.ts';
import type { Row } from './walls.ts';

const WITHIN_MS = 200_000;

interface Results {
  readonly testResults: readonly {
    readonly status: string;
    /** Why a file failed beside its tests: in what it does before them. */
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly title: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

export interface Ran {
  readonly passed: number;
  /** The first line of each failure. */
  readonly failures: readonly string[];
}

/** The tests of that file whose title has the id. Throws where none ran. */
export async function runRow(row: Row, engine: string): Promise<Ran> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-row-'));
  const output = path.join(folder, 'results.json');
  const { VITEST: _, ...inherited } = process.env;
  const env = Object.fromEntries(
    Object.entries(inherited).filter(([name]) => !name.startsWith('VITEST_')),
  );
  try {
    const said = await ended(
      spawn(
        process.execPath,
        [
          path.join(packageRoot, 'node_modules/vitest/vitest.mjs'),
          ...['run', '--project', 'server', row.file, '-t', `\\b${row.id}\\b`],
          ...['--reporter=json', `--outputFile=${output}`],
        ],
        {
          cwd: packageRoot,
          env: {
            ...env,
            COFFERDAM_ENGINE: engine,
            COFFERDAM_POOL_READY: '0',
            COFFERDAM_POOL_MAX_READY: '0',
          },
          stdio: ['ignore', 'pipe', 'pipe'],
          timeout: WITHIN_MS,
        },
      ),
    );
    return outcomesOf(output, said);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const ended = (child: ReturnType<typeof spawn>): Promise<string> =>
  new Promise((resolve) => {
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        text += bytes.toString();
      });
    }
    child.once('close', () => resolve(text));
  });

function outcomesOf(file: string, said: string): Ran {
  let results: Results;
  try {
    results = JSON.parse(readFileSync(file, 'utf8')) as Results;
  } catch (cause) {
    throw new Error(`no results: ${said.slice(-2000)}`, { cause });
  }
  const ran = results.testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'passed' || status === 'failed');
  const before = results.testResults.filter(
    ({ status }) => status === 'failed' && ran.length === 0,
  );
  if (ran.length === 0 && before.length === 0) throw new Error(`no test ran: ${said.slice(-2000)}`);
  const messages = [
    ...before.map(({ message }) => message),
    ...ran
      .filter(({ status }) => status === 'failed')
      .map(({ failureMessages: [one = ''] }) => one),
  ];
  return {
    passed: ran.filter(({ status }) => status === 'passed').length,
    failures: messages.map((text) => text.split('\n')[0] ?? ''),
  };
}
