import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectionFrom, refusalText, ServerError } from '../../services/cli/client.ts';
import { awaits, exitCodeFor, explain, requestOf } from '../../services/cli/exec.ts';
import { jobRequest } from '../../shared/contract/request.ts';
import { exitCodeOf, type JobResult, type Outcome } from '../../shared/contract/result.ts';
import { everyOutcome } from '../shared/contract/outcomes.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-cli-'));
  writeFileSync(path.join(folder, 'a.py'), 'print(1)');
});
afterAll(() => rmSync(folder, { recursive: true }));

const request = (options: Partial<Parameters<typeof requestOf>[1]> = {}) =>
  requestOf(['echo', 'a b'], { output: '.', ...options });

describe('the request of a command line', () => {
  it('is the command alone where nothing else is given', () => {
    expect(request()).toEqual({ command: ['echo', 'a b'] });
  });

  it('holds every option, and is one that the contract takes', () => {
    const asked = request({
      image: 'python',
      file: [path.join(folder, 'a.py'), `there/b.py=${path.join(folder, 'a.py')}`],
      collect: ['out/*'],
      env: ['A=1', 'B=x=y', 'C='],
      label: ['run=7'],
      timeout: '5000',
      memory: '64',
    });
    const content = Buffer.from('print(1)').toString('base64');
    expect(asked).toEqual({
      command: ['echo', 'a b'],
      image: 'python',
      files: [
        { path: 'a.py', content, encoding: 'base64' },
        { path: 'there/b.py', content, encoding: 'base64' },
      ],
      collect: ['out/*'],
      env: { A: '1', B: 'x=y', C: '' },
      labels: { run: '7' },
      timeoutMs: 5000,
      limits: { memoryMb: 64 },
    });
    expect(jobRequest.safeParse(asked).success).toBe(true);
  });

  it.each<[string, Partial<Parameters<typeof requestOf>[1]>, RegExp]>([
    ['a variable without a value', { env: ['A'] }, /--env: expected NAME=VALUE; came A/],
    ['a variable without a name', { env: ['=x'] }, /--env: expected NAME=VALUE/],
    ['a label without a value', { label: ['x'] }, /--label: expected NAME=VALUE; came x/],
    ['a file that is not there', { file: ['/nonexistent'] }, /--file: ENOENT/],
    ['a fraction', { timeout: '1.5' }, /--timeout: expected a whole number; came 1\.5/],
    ['zero', { memory: '0' }, /--memory: expected a whole number; came 0/],
    ['a unit', { memory: '64m' }, /--memory: expected a whole number; came 64m/],
  ])('is refused with %s, and told so', (_, options, message) => {
    expect(() => request(options)).toThrow(ServerError);
    expect(() => request(options)).toThrow(message);
  });
});

describe('the exit code', () => {
  const codeOf = (outcome: Outcome) => exitCodeFor({ outcome, exitCode: exitCodeOf(outcome) });

  it.each<[Outcome, number]>([
    [{ kind: 'exited', exitCode: 0 }, 0],
    [{ kind: 'exited', exitCode: 7 }, 7],
    [{ kind: 'timed_out', limit: 'wall' }, 124],
    [{ kind: 'out_of_memory' }, 137],
    [{ kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' }, 127],
    [{ kind: 'could_not_start', stage: 'exec', errno: 'EACCES' }, 126],
    [{ kind: 'could_not_start', stage: 'files', errno: 'ENOSPC' }, 125],
    [{ kind: 'cancelled', by: 'caller' }, 125],
    [{ kind: 'expired' }, 125],
    [{ kind: 'lost', cause: 'worker_lost' }, 125],
  ])('of %o is %i', (outcome, code) => {
    expect(codeOf(outcome)).toBe(code);
  });

  it.runIf(process.platform === 'linux')(
    'of a program that a signal ended is 128 and its number, for every signal',
    () => {
      for (const [signal, number] of Object.entries(os.constants.signals)) {
        if (['SIGIOT', 'SIGPOLL', 'SIGUNUSED'].includes(signal)) continue; // second names
        expect([signal, codeOf({ kind: 'signaled', signal })]).toEqual([signal, 128 + number]);
      }
    },
  );

  it('is 0 for no outcome but exit code 0', () => {
    for (const outcome of everyOutcome) {
      const isWell = outcome.kind === 'exited' && outcome.exitCode === 0;
      expect(codeOf(outcome) === 0).toBe(isWell);
    }
    expect(exitCodeFor({ outcome: null, exitCode: null })).not.toBe(0);
  });
});

describe('why a job has no exit code of its own', () => {
  it('is said for every outcome but an exit', () => {
    for (const outcome of everyOutcome) {
      const why = explain(outcome);
      if (outcome.kind === 'exited') expect(why).toBeUndefined();
      else expect(why).toMatch(/^[a-z].{5,}/);
    }
    expect(explain(null)).toBeUndefined();
  });

  it.each<[Outcome, string]>([
    [{ kind: 'signaled', signal: 'SIGSEGV' }, 'ended by SIGSEGV'],
    [{ kind: 'timed_out', limit: 'cpu' }, 'timed out (cpu time); the output so far is above'],
    [{ kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' }, 'could not start: ENOENT (exec)'],
    [{ kind: 'denied', rule: 'r', reason: 'because' }, 'denied by r: because'],
    [
      { kind: 'lost', cause: 'worker_lost' },
      'lost by the platform (worker_lost); the same command may work again',
    ],
  ])('of %o is %j', (outcome, why) => {
    expect(explain(outcome)).toBe(why);
  });

  it('promises nothing of another try where the signature does not hold', () => {
    const why = explain({ kind: 'lost', cause: 'spec_forged' });
    expect(why).toContain('docs/signatures.md');
    expect(why).not.toContain('may work again');
  });
});

describe('a job that waits for an approval', () => {
  const job = { id: 'job_1', state: 'awaiting_approval', approvalId: 'apr_2' } as JobResult;

  it('is said to, with the command that shows it', () => {
    expect(awaits(job)).toMatch(/^job_1 waits .*`cofferdam approvals show apr_2`/);
    expect(awaits({ ...job, state: 'queued' })).toBeUndefined();
  });
});

describe('a refusal', () => {
  const response = { status: 403, statusText: 'Forbidden' };
  const problem = { code: 'POLICY_DENIED', detail: 'exec is denied: No.', remedy: 'Change it.' };

  it('is its code, its detail as a sentence, and what to do', () => {
    expect(refusalText(response, problem)).toBe('POLICY_DENIED: exec is denied: No. Change it.');
    expect(refusalText(response, { ...problem, detail: 'name: no' })).toBe(
      'POLICY_DENIED: name: no. Change it.',
    );
    expect(refusalText(response, {})).toBe('403: Forbidden.');
  });

  it('of a policy says no more than the policy does', () => {
    expect(refusalText(response, { ...problem, policy: {} })).toBe(
      'POLICY_DENIED: exec is denied: No.',
    );
  });
});

describe('the server that the command line speaks to', () => {
  const key = 'k'.repeat(40);
  const urlFor = (env: Record<string, string>) =>
    connectionFrom({ COFFERDAM_DEV_KEY: key, ...env }).url;

  it('is named by COFFERDAM_URL, else by the settings of the server', () => {
    expect(urlFor({})).toBe('http://127.0.0.1:7070');
    expect(urlFor({ COFFERDAM_PORT: '8080' })).toBe('http://127.0.0.1:8080');
    expect(urlFor({ COFFERDAM_URL: 'https://x.example' })).toBe('https://x.example');
  });

  it('may have an address of IPv6', () => {
    expect(new URL(urlFor({ COFFERDAM_HOST: '::1' })).host).toBe('[::1]:7070');
  });

  it('wants a key: the operator’s, else the one in its data folder', () => {
    const dataDir = path.join(folder, 'data');
    expect(() => connectionFrom({ COFFERDAM_DATA_DIR: dataDir })).toThrow(/There is no key/);
    writeFileSync(path.join(folder, 'key'), 'from-the-file\n');
    expect(connectionFrom({ COFFERDAM_DATA_DIR: folder }).key).toBe('from-the-file');
  });
});
