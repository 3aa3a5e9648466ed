/** A reporter for `npm run test:escape`: one line for each row of the catalogue, with its verdict under each runtime. */
import type { Reporter, TestModule } from 'vitest/node';
import { RUNTIMES, type Runtime } from '../../shared/runtimes.ts';
import { CATALOGUE, idsOf } from './catalogue.ts';

type Verdict = 'held' | 'BROKEN' | 'not run';

/** What is tested without a sandbox, or over the guest's pipes, holds under every runtime. */
const RUNTIMES_OF: Readonly<Record<string, readonly Runtime[]>> = {
  server: ['runc'],
  runsc: ['runsc'],
  unit: RUNTIMES,
  guest: RUNTIMES,
};

export default class Table implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const verdicts = new Map<string, Verdict>();
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state !== 'passed' && state !== 'failed') continue;
        for (const id of idsOf(test.name)) {
          for (const runtime of RUNTIMES_OF[module.project.name] ?? []) {
            const key = `${id} ${runtime}`;
            if (verdicts.get(key) !== 'BROKEN') {
              verdicts.set(key, state === 'passed' ? 'held' : 'BROKEN');
            }
          }
        }
      }
    }
    print(verdicts);
  }
}

function print(verdicts: ReadonlyMap<string, Verdict>): void {
  const line = (id: string, ...cells: string[]): void =>
    console.log([id.padEnd(4), ...cells.map((cell) => cell.padEnd(8))].join(' ').trimEnd());
  console.log();
  line('id', ...RUNTIMES, 'what is tried');
  for (const [id, { what, none }] of Object.entries(CATALOGUE)) {
    const cells = RUNTIMES.map((runtime) =>
      none?.[runtime] === undefined ? (verdicts.get(`${id} ${runtime}`) ?? 'not run') : 'none',
    );
    line(id, ...cells, what);
  }
  console.log('\nRows without a test under a runtime:');
  for (const [id, { none = {} }] of Object.entries(CATALOGUE)) {
    for (const reason of new Set(Object.values(none))) {
      const where = RUNTIMES.filter((runtime) => none[runtime] === reason).join(', ');
      console.log(`${id}  ${where}: ${reason}`);
    }
  }
}
