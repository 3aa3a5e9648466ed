import { describe, expect, it } from 'vitest';
import {
  exitCodeOf,
  failuresOf,
  showTally,
  tallyOf,
  totalOf,
} from '../../../services/cli/batch/tally.ts';
import { OUTCOME_COUNTS } from '../../../shared/contract/batch.ts';

describe('the exit code of a batch', () => {
  it.each(OUTCOME_COUNTS.map((name) => [name] as const))('is decided by one %s', (name) => {
    const code = exitCodeOf(tallyOf({ exited_zero: 5, [name]: 1 }), 0);
    const expected = { exited_zero: 0, cancelled: 125, expired: 125, lost: 125 } as const;
    expect(code).toBe(name in expected ? expected[name as keyof typeof expected] : 1);
  });

  it('is that of the platform where a program failed as well', () => {
    expect(exitCodeOf(tallyOf({ exited_nonzero: 3, lost: 1 }), 0)).toBe(125);
  });

  it('counts refused jobs as failures, and results that are gone as no verdict', () => {
    expect(exitCodeOf(tallyOf({ exited_zero: 1 }), 1)).toBe(1);
    expect(exitCodeOf(tallyOf({ exited_zero: 1, no_result: 1 }), 0)).toBe(125);
  });
});

describe('a tally', () => {
  const tally = tallyOf({ exited_zero: 990, timed_out: 2 });

  it('has a total, of which all but exits with 0 are failures', () => {
    expect([totalOf(tally), failuresOf(tally)]).toEqual([992, 2]);
  });

  it('is shown without what did not happen', () => {
    expect(showTally(tally, 3)).toBe(
      '  exited_zero          990\n  timed_out              2\n  refused                3',
    );
  });
});
