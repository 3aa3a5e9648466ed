/** Runs the hostile programs of test/fixtures/escape as jobs, and asks what they leave behind. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, expect, inject, test } from 'vitest';
import type { JobRequestInput } from '../../shared/contract/request.ts';
import type { JobResult, StepResult } from '../../shared/contract/result.ts';
import { sandboxes } from '../helpers/docker.ts';
import { callerOf } from '../helpers/server.ts';
import { expectRemains, lookAt, type Ours, type Remains, remains } from './remains.ts';

export const FIXTURES = path.resolve(import.meta.dirname, '../fixtures/escape');
/** For attacks that end by themselves: generous, since the machine may be busy. */
const TIMEOUT_MS = 30_000;
const SETTLED_WITHIN_MS = 20_000;
const SETTLED_POLL_MS = 200;

/** What is under attack: the default runtime of the server of this project of vitest. */
export const RUNTIME = inject('runtime');

export const api = callerOf(inject('server'));

export interface Attack {
  readonly result: JobResult;
  /** The attack itself: the step after its compilation, or the whole job. */
  readonly ran: JobResult | StepResult;
  /** What it printed, line by line. */
  readonly lines: string[];
  /** Its lines as name → the rest. */
  readonly verdicts: Record<string, string>;
}

type Options = Omit<JobRequestInput, 'command' | 'script' | 'steps' | 'files'> & {
  args?: string[];
};

const fileOf = (name: string) => ({
  path: name,
  content: readFileSync(path.join(FIXTURES, name), 'utf8'),
});

/** Runs a fixture to its end, beside a harmless job: C is compiled inside the sandbox first. */
export async function attack(fixture: string, options: Options = {}): Promise<Attack> {
  const [result] = await besideNeighbour(api.run(requestOf(fixture, options)));
  const ran = fixture.endsWith('.c') ? result.steps?.at(1) : result;
  if (ran === undefined) throw new Error(`${fixture} did not run: ${result.steps?.[0]?.stderr}`);
  const lines = ran.stdout.split('\n').filter((line) => line !== '');
  const verdicts = Object.fromEntries(lines.map(verdictOf));
  return { result, ran, lines, verdicts };
}

/** The neighbour writes, forks and computes a little, and must come to its end as it would alone. */
export async function besideNeighbour<T>(attacks: Promise<T>): Promise<[T, JobResult]> {
  const script = 'for i in 1 2 3; do echo $i > f$i; sleep 0.1; cat f$i; done; echo $((6 * 7))';
  const neighbour = api.run({ command: ['sh', '-c', script], timeoutMs: TIMEOUT_MS });
  const [attacked, unharmed] = await Promise.all([attacks, neighbour]);
  expect(unharmed).toMatchObject({
    outcome: { kind: 'exited', exitCode: 0 },
    stdout: '1\n2\n3\n42\n',
    attempt: 1,
  });
  return [attacked, unharmed];
}

const verdictOf = (line: string): [string, string] => {
  const [name = '', ...rest] = line.split(' ');
  return [name, rest.join(' ')];
};

export function requestOf(fixture: string, { args = [], ...rest }: Options): JobRequestInput {
  const request = { timeoutMs: TIMEOUT_MS, ...rest };
  switch (path.extname(fixture)) {
    case '.c':
      return {
        ...request,
        files: [fileOf(fixture), fileOf('attempt.h')],
        steps: [
          {
            name: 'compile',
            command: ['gcc', '-O1', '-pthread', '-o', 'attack', fixture, '-lrt'],
          },
          { name: 'attack', command: ['./attack', ...args] },
        ],
      };
    case '.py':
      return {
        image: 'python',
        ...request,
        files: [fileOf(fixture)],
        command: ['python3', fixture, ...args],
      };
    default:
      return { ...request, files: [fileOf(fixture)], command: ['sh', fixture, ...args] };
  }
}

/** Names of the attempts whose verdict is none of these. */
export const otherThan = (verdicts: Record<string, string>, ...expected: string[]): string[] =>
  Object.entries(verdicts)
    .filter(([, verdict]) => !expected.includes(verdict))
    .map((entry) => entry.join(' '));

/**
 * After each test a harmless job must run. After the last one the host must be as it was: only the pool's sandboxes are
 * there, no process of a job, no volume, no engine's process or cgroup of a sandbox that is gone, no disk or memory spent.
 */
export function expectNothingLeft(): void {
  const { pid } = inject('server');
  const ours: Ours = { sandboxes: new Set() };
  let before: Remains;
  beforeAll(async () => {
    before = await remains(pid);
  });
  afterEach(async () => {
    const unharmed = await api.run({ command: ['echo', 'unharmed'] });
    expect(unharmed).toMatchObject({
      outcome: { kind: 'exited', exitCode: 0 },
      stdout: 'unharmed\n',
    });
    await lookAt(ours, unharmed.worker ?? '');
  });

  test('nothing of a finished job is left', async () => {
    const { worker } = await api.run({ command: ['true'] });
    const deadline = Date.now() + SETTLED_WITHIN_MS;
    let seen = { leased: -1, ofPool: -1, ofEngine: -2 };
    while (Date.now() < deadline && (seen.leased !== 0 || seen.ofPool !== seen.ofEngine)) {
      await sleep(SETTLED_POLL_MS);
      const ofEngine = (await sandboxes(worker ?? undefined)).length;
      const { leased = 0, ready = 0, creating = 0, removing = 0 } = await poolFigures();
      seen = { leased: leased + removing, ofPool: ready + creating, ofEngine };
    }
    expect(seen).toEqual({ leased: 0, ofPool: seen.ofEngine, ofEngine: seen.ofEngine });
    await expectRemains(before, ours, pid);
  });
}

async function poolFigures(): Promise<Record<string, number>> {
  const text = await (await api.send('/metrics')).text();
  const lines = text.matchAll(/^cofferdam_pool_sandboxes\{state="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...lines].map(([, state, count]) => [state, Number(count)]));
}
