import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { CAUSE, KIND, STAGE } from '../../../services/worker/protocol/frame.ts';
import { BINARIES, lastStep, python, runJob, type Step, sh } from './harness.ts';

const { errno, signals } = constants;
const FATAL: (keyof typeof signals)[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGILL',
  'SIGTRAP',
  'SIGABRT',
  'SIGBUS',
  'SIGFPE',
  'SIGKILL',
  'SIGUSR1',
  'SIGSEGV',
  'SIGUSR2',
  'SIGPIPE',
  'SIGALRM',
  'SIGTERM',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGVTALRM',
  'SIGPROF',
  'SIGIO',
  'SIGSYS',
];

/** In batches, as every one takes a sandbox of its own. */
async function inBatches<Item>(items: Item[], check: (item: Item) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += 8)
    await Promise.all(items.slice(at, at + 8).map(check));
}

describe.concurrent.each(BINARIES)('%s', (binary) => {
  async function end(...steps: Step[]) {
    return lastStep(await runJob({ binary }, { steps }));
  }

  it('P11 every exit code is reported as it is', { timeout: 60_000 }, async () => {
    // With the sanitizers a tenth of them: the codes are one line of C, and a start is a tenth of a second.
    const codes = Array.from({ length: 256 }, (_, code) => code);
    const tried = binary.endsWith('asan') ? codes.filter((code) => code % 10 === 7) : codes;
    await inBatches(tried, async (code) => {
      expect(await end(sh(`exit ${code}`))).toMatchObject({
        cause: CAUSE.NONE,
        kind: KIND.EXITED,
        code,
        stage: STAGE.NONE,
      });
    });
  });

  it('P11 every fatal signal is reported as a signal', { timeout: 60_000 }, async () => {
    await inBatches(FATAL, async (name) => {
      expect(await end(sh(`kill -${signals[name]} $$`)), name).toMatchObject({
        cause: CAUSE.NONE,
        kind: KIND.SIGNALED,
        code: signals[name],
      });
    });
  });

  it('steps run one after another until one fails', async () => {
    const report = await runJob(
      { binary },
      { steps: [sh('echo a'), sh('echo b; exit 3'), sh('echo c')] },
    );
    expect(report.started).toEqual([0, 1]);
    expect(report.steps.map(({ step, code }) => [step, code])).toEqual([
      [0, 0],
      [1, 3],
    ]);
    expect(report.stdout.toString()).toBe('a\nb\n');
  });

  it.each([
    ['a program that PATH does not have', ['nowhere'], 'ENOENT'],
    ['an empty name', [''], 'ENOENT'],
    ['a path that does not exist', ['./nowhere'], 'ENOENT'],
    ['a path through a file', ['./plain/x'], 'ENOTDIR'],
    ['a file that is not executable', ['./plain'], 'EACCES'],
    ['a folder', ['/usr'], 'EACCES'],
    ['a file of no known format', ['./unknown'], 'ENOEXEC'],
    ['a missing interpreter', ['./lost'], 'ENOENT'],
    ['an interpreter that is not executable', ['./wrong'], 'EACCES'],
    ['an argument longer than the kernel takes', ['true', 'x'.repeat(131_072)], 'E2BIG'],
  ] as const)('%s could not be started', async (_, argv, code) => {
    const files = [
      { path: 'plain', content: 'echo hello\n' },
      { path: 'unknown', content: 'echo hello\n', executable: true },
      { path: 'lost', content: '#!/nowhere\n', executable: true },
      { path: 'wrong', content: '#!/work/plain\n', executable: true },
    ];
    const report = await runJob({ binary }, { files, steps: [{ argv }, sh('true')] });
    expect(report.steps).toHaveLength(1);
    expect(lastStep(report)).toMatchObject({
      cause: CAUSE.NONE,
      kind: KIND.COULD_NOT_START,
      code: errno[code],
      stage: STAGE.EXEC,
      stdoutTotal: 0,
    });
  });

  it('a program is found by the PATH of the job', async () => {
    const files = [
      { path: 'first/hello', content: '#!/bin/sh\necho no\n' },
      { path: 'second/hello', content: '#!/bin/sh\necho "$0 $#"\n', executable: true },
    ];
    const env = { PATH: '/nowhere:/work/plain:/work/first:second' };
    const report = await runJob({ binary }, { files, env, steps: [{ argv: ['hello', 'x'] }] });
    expect(report.stdout.toString()).toBe('second/hello 1\n');
  });

  it('the environment holds what the job says and nothing else', async () => {
    const env = { EMPTY: '', EQUALS: 'a=b', UMLAUT: 'ä\n' };
    const report = await runJob({ binary }, { env, steps: [{ argv: ['env', '-0'] }] });
    expect(report.stdout.toString().split('\0').sort()).toEqual(
      ['', 'EMPTY=', 'EQUALS=a=b', 'PATH=/usr/bin:/bin', 'UMLAUT=ä\n'].sort(),
    );
  });

  it('the working folder is created and entered', async () => {
    const report = await runJob({ binary }, { cwd: 'deep/er', steps: [sh('pwd; stat -c %a .')] });
    expect(report.stdout.toString()).toBe('/work/deep/er\n755\n');
  });

  it('without a working folder of its own a job starts in /work', async () => {
    const report = await runJob({ binary }, { steps: [{ argv: ['pwd'] }] });
    expect(report.stdout.toString()).toBe('/work\n');
  });

  it.each([
    ['a link to outside', 'rmdir x; ln -s /usr x', 'ENOTDIR'],
    ['a link to inside', 'mkdir y; rmdir x; ln -s y x', 'ENOTDIR'],
    ['nothing', 'rmdir x', 'ENOENT'],
    ['a file', 'rmdir x; touch x', 'ENOTDIR'],
    ['a folder closed to the job itself', 'chmod 0 x', 'EACCES'],
  ] as const)('a working folder that became %s is not entered', async (_, plant, code) => {
    const end = lastStep(
      await runJob({ binary }, { cwd: 'x', steps: [sh(`cd /work; ${plant}`), sh('pwd')] }),
    );
    expect(end).toMatchObject({
      step: 1,
      kind: KIND.COULD_NOT_START,
      code: errno[code],
      stage: STAGE.CWD,
    });
  });

  it('a descriptor limit too small for the set-up is a failed start', async () => {
    const report = await runJob({ binary }, { limits: { openFiles: 2 } });
    expect(lastStep(report)).toMatchObject({ kind: KIND.COULD_NOT_START, stage: STAGE.SETUP });
  });

  it('infinite recursion is a segmentation fault', async () => {
    const recurse = python(
      'import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return (f, [sorted([x], key=f)])\nf(1)',
    );
    expect(await end(recurse)).toMatchObject({ kind: KIND.SIGNALED, code: signals.SIGSEGV });
  });
});
