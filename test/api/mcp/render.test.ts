import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutMiddle, isErrorEnd, renderResult } from '../../../services/api/mcp/render.ts';
import { everyOutcome } from '../../shared/contract/outcomes.ts';
import { resultWith, withStdout } from './results.ts';

const EXITED = { kind: 'exited', exitCode: 0 } as const;

describe('a result as text', () => {
  it.each(everyOutcome)('of %j says in its first line how it ended', (outcome) => {
    const [first] = renderResult(resultWith(outcome), 1000).split('\n');
    expect(first).toMatch(/^[A-Z].*[.!e]$/);
    expect(first).not.toContain('undefined');
  });

  it('is an error for every end that the program did not choose, and for no other', () => {
    for (const outcome of everyOutcome) {
      expect(isErrorEnd(resultWith(outcome))).toBe(outcome.kind !== 'exited');
    }
    expect(isErrorEnd(resultWith(null))).toBe(false);
  });

  it('of a job that is not done says where to ask again', () => {
    const { id, ...open } = resultWith(null);
    expect(renderResult({ id, ...open }, 1000)).toContain(`job_get {"jobIds": ["${id}"]`);
    const parked = { id, ...open, state: 'awaiting_approval', approvalId: 'apr_1' } as const;
    expect(renderResult(parked, 1000)).toMatch(/approval \(apr_1\).*do not send it again/);
  });

  it('gives one stream the room that the other does not need', () => {
    const text = renderResult(
      resultWith(EXITED, {
        ...withStdout('o'.repeat(900)),
        stderr: 'e'.repeat(100),
        stderrBytes: 100,
      }),
      1000,
    );
    expect(text).toContain('o'.repeat(900));
    expect(text).not.toContain('left out');
  });

  it('says what the platform did not keep, and where a cut of the text lies in what was written', () => {
    const kept = `${'a'.repeat(500)}${'b'.repeat(500)}`;
    const cut = { ...withStdout(kept), stdoutBytes: 5000, stdoutCutAt: 500, isTruncated: true };
    expect(renderResult(resultWith(EXITED, cut), 400)).toContain('of 5000 bytes written');
    // The head ends behind the cut: its place is counted from the end of what was written.
    const far = { ...cut, stdoutCutAt: 100 };
    expect(renderResult(resultWith(EXITED, far), 400)).toContain(
      `"offsetBytes": ${5000 - 1000 + 200}`,
    );
  });

  it('shows no bytes that are not text', () => {
    const binary = { stdout: 'AAEC', stdoutEncoding: 'base64', stdoutBytes: 3 } as const;
    const text = renderResult(resultWith(EXITED, binary), 1000);
    expect(text).toContain('3 bytes that are not text');
    expect(text).not.toContain('AAEC');
  });

  it('names steps, artifacts and why JSON is none', () => {
    const text = renderResult(
      resultWith(EXITED, {
        artifacts: [{ path: 'out/a', bytes: 3, sha256: '', url: '' }],
        artifactsSkipped: [{ path: 'x', reason: 'too_large' }],
        parseJsonError: 'no JSON',
      }),
      1000,
    );
    expect(text).toContain('Artifact out/a, 3 bytes.');
    expect(text).toContain('1 files were not kept: too_large.');
    expect(text).toContain('The output is not JSON: no JSON.');
  });
});

describe('a cut', () => {
  it('keeps head and tail, splits no character, and counts what it leaves out', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 300 }),
        fc.integer({ min: 0, max: 100 }),
        (text, max) => {
          const cut = cutMiddle(text, max, { id: 'j', stream: 'stdout' });
          if (text.length <= max) return cut === text.replace(/\n$/, '');
          const [, left] = cut.match(/\[… (\d+) characters left out here; job_output/) ?? [];
          const at = cut.indexOf('\n[… ');
          const head = cut.slice(0, at);
          const tail = cut.slice(cut.lastIndexOf(' has them …]\n') + ' has them …]\n'.length);
          return (
            text.startsWith(head) &&
            text.endsWith(tail) &&
            head.length + tail.length + Number(left) === text.length &&
            head.isWellFormed() === text.slice(0, head.length).isWellFormed()
          );
        },
      ),
    );
  });
});
