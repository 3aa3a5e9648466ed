import { describe, expect, it } from 'vitest';
import {
  exitCodeOf,
  jobResult,
  type Outcome,
  outcome,
  verdictOf,
} from '../../../shared/contract/result.ts';
import { everyOutcome } from './outcomes.ts';

type Verdict = ReturnType<typeof verdictOf>;
const verdict = (fault: Verdict['fault'], ran: Verdict['ran'], isRetryable = false): Verdict => ({
  fault,
  ran,
  retryable: isRetryable,
});

/** Outcome → verdict and exit code, one row for every outcome. */
const TABLE: readonly [Outcome, Verdict, number | null][] = [
  [{ kind: 'exited', exitCode: 0 }, verdict('none', 'yes'), 0],
  [{ kind: 'exited', exitCode: 1 }, verdict('program', 'yes'), 1],
  [{ kind: 'exited', exitCode: 255 }, verdict('program', 'yes'), 255],
  [{ kind: 'signaled', signal: 'SIGSEGV' }, verdict('program', 'yes'), null],
  [{ kind: 'timed_out', limit: 'wall' }, verdict('program', 'yes'), 124],
  [{ kind: 'timed_out', limit: 'cpu' }, verdict('program', 'yes'), 124],
  [{ kind: 'out_of_memory' }, verdict('program', 'yes'), 137],
  [{ kind: 'output_limit' }, verdict('program', 'yes'), null],
  [
    { kind: 'could_not_start', stage: 'setup', errno: 'ENOMEM' },
    verdict('platform', 'no', true),
    null,
  ],
  [{ kind: 'could_not_start', stage: 'files', errno: 'ENOSPC' }, verdict('caller', 'no'), null],
  [{ kind: 'could_not_start', stage: 'cwd', errno: 'ENOTDIR' }, verdict('caller', 'no'), null],
  [{ kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' }, verdict('caller', 'no'), 127],
  [{ kind: 'could_not_start', stage: 'exec', errno: 'EACCES' }, verdict('caller', 'no'), 126],
  [{ kind: 'cancelled', by: 'caller' }, verdict('caller', 'unknown'), null],
  [{ kind: 'cancelled', by: 'operator' }, verdict('caller', 'unknown'), null],
  [{ kind: 'expired' }, verdict('platform', 'no', true), null],
  [{ kind: 'denied', rule: 'r', reason: 'because' }, verdict('policy', 'no'), null],
  [{ kind: 'lost', cause: 'sandbox_lost' }, verdict('platform', 'unknown', true), null],
  [{ kind: 'lost', cause: 'sandbox_crashed' }, verdict('program', 'yes', false), null],
  [{ kind: 'lost', cause: 'sandbox_unresponsive' }, verdict('platform', 'unknown', true), null],
  [{ kind: 'lost', cause: 'sandbox_unavailable' }, verdict('platform', 'no', true), null],
  [{ kind: 'lost', cause: 'worker_lost' }, verdict('platform', 'unknown', true), null],
  [{ kind: 'lost', cause: 'spec_unreadable' }, verdict('platform', 'no', false), null],
  [{ kind: 'lost', cause: 'spec_forged' }, verdict('platform', 'no', false), null],
];

describe('an outcome', () => {
  it.each(TABLE)('%o has its verdict and its exit code', (end, expected, exitCode) => {
    expect(verdictOf(end)).toEqual(expected);
    expect(exitCodeOf(end)).toBe(exitCode);
  });

  it('has a row in this table for every kind and every closed value', () => {
    expect(TABLE.map(([end]) => end)).toEqual(everyOutcome);
    const kinds = outcome.options.map((option) => option.shape.kind.value);
    expect(new Set(everyOutcome.map(({ kind }) => kind))).toEqual(new Set(kinds));
  });

  it('never blames the program for what the platform did', () => {
    for (const end of everyOutcome) {
      const { fault, retryable } = verdictOf(end);
      // A kernel that one program had to itself fails by what that program did.
      if (end.kind === 'lost' && end.cause === 'sandbox_crashed') continue;
      if (end.kind === 'lost' || end.kind === 'expired') expect(fault).toBe('platform');
      if (retryable) expect(fault).toBe('platform');
    }
  });

  it.each([
    { kind: 'exited', exitCode: 256 },
    { kind: 'exited', exitCode: -1 },
    { kind: 'exited' },
    { kind: 'signaled' },
    { kind: 'timed_out', limit: 'disk' },
    { kind: 'lost', cause: 'gremlins' },
    { kind: 'out_of_memory', extra: 1 },
    { kind: 'crashed' },
  ])('that is not in the union is refused: %o', (bad) => {
    expect(outcome.safeParse(bad).success).toBe(false);
  });
});

describe('the schema of a result', () => {
  it('refuses a field that the contract does not have', () => {
    expect(Object.keys(jobResult.shape)).toContain('outcome');
    const faults = jobResult.safeParse({ surprise: 1 }).error?.issues ?? [];
    expect(faults.some(({ code }) => code === 'unrecognized_keys')).toBe(true);
  });
});
