/**
 * What a run comes to. A scenario counts as one and passes when it ends as expected-REVISION.yaml says: it fails if it is
 * listed there, else it does not. A listed one that passes has to leave the list, and one that should have run and left
 * no results failed. The suite's own exit code says less: nothing of what it does not score, nor of what it skipped.
 */

/** @param {{ checks: { id: string, status: string }[] | undefined, isListed: boolean }} ended */
export function judge({ checks, isListed }) {
  if (checks === undefined) return { is: 'failed', why: 'left no results' };
  const bad = checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING');
  if (isListed) {
    if (bad.length > 0) return { is: 'passed', why: 'fails, as is expected' };
    return { is: 'failed', why: 'is expected to fail and does not: take it off the list' };
  }
  if (bad.length > 0) return { is: 'failed', why: bad.map(said).join('; ') };
  if (checks.some(({ status }) => status === 'SUCCESS')) return { is: 'passed', why: 'passes' };
  return { is: 'not counted', why: 'checked nothing' };
}

const said = ({ id, status, errorMessage = '' }) => `${id} ${status} ${errorMessage}`.trim();

/** Every scenario that a set asks for, and every name that is listed without being asked for. */
export function judgeSet({ asked, listed, results, note }) {
  for (const name of asked) {
    note(name, judge({ checks: results.get(name), isListed: listed.has(name) }));
  }
  for (const name of listed) {
    if (!asked.includes(name)) note(name, { is: 'failed', why: 'is listed and not asked for' });
  }
}

export function createTally() {
  const count = { passed: 0, failed: 0, 'not counted': 0 };
  const failures = [];
  return {
    note(name, { is, why }) {
      count[is] += 1;
      if (is === 'failed') failures.push(`${name}: ${why}`);
    },
    /** The last line is what CI reads. */
    report() {
      for (const failure of failures) console.log(`conformance: ${failure}`);
      console.log(`${count.passed} passed, ${count.failed} failed`);
      return count.failed === 0;
    },
  };
}
