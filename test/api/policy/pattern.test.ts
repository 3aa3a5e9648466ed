import { describe, expect, it } from 'vitest';
import {
  compileGlob,
  compileRegex,
  globSource,
  MAX_SUBJECT_BYTES,
  regexSource,
  SubjectTooLong,
} from '../../../services/api/policy/pattern.ts';

const faultOf = (source: string): string | undefined =>
  regexSource.safeParse(source).error?.issues[0]?.message;

describe('a regular expression', () => {
  it('is found anywhere in its subject, as RE2 reads it', () => {
    expect(compileRegex('b+c')('aabbcc')).toBe(true);
    expect(compileRegex('^b')('ab')).toBe(false);
    expect(compileRegex('(?i)^CURL$')('curl')).toBe(true);
  });

  it.each([['('], ['(a)\\1'], ['(?=a)b'], ['(?<=a)b'], ['a{1001}']])(
    'that RE2 does not know is refused: %s',
    (source) => {
      expect(faultOf(source)).toMatch(/^expected a pattern of RE2: /);
    },
  );

  it('has at most 512 characters, and repetitions that unfold to little', () => {
    expect(faultOf('a'.repeat(512))).toBeUndefined();
    expect(faultOf('a'.repeat(513))).toContain('at most 512 characters; came 513');
    expect(faultOf('[a-z]{900}[0-9]{900}x{900}')).toContain('a smaller pattern');
  });

  it('H23 reads 4 KiB of a subject that almost matches without backtracking', () => {
    const slowElsewhere = compileRegex('^(([a-z])+.)+[A-Z]([a-z])+$');
    const before = performance.now();
    for (let round = 0; round < 20; round += 1) {
      expect(slowElsewhere('a'.repeat(MAX_SUBJECT_BYTES))).toBe(false);
    }
    // An engine that backtracks needs longer than the universe has been there for.
    expect(performance.now() - before).toBeLessThan(20_000);
  });

  it('refuses a longer subject instead of cutting it, whatever it holds', () => {
    const matches = compileRegex('(a+)+b');
    expect(matches(`${'a'.repeat(MAX_SUBJECT_BYTES - 1)}b`)).toBe(true);
    expect(() => matches('a'.repeat(100_000))).toThrow(SubjectTooLong);
    expect(() => matches('é'.repeat(MAX_SUBJECT_BYTES / 2 + 1))).toThrow(SubjectTooLong);
    expect(matches(`${'é'.repeat(MAX_SUBJECT_BYTES / 2)}`)).toBe(false);
  });
});

describe('a glob', () => {
  it.each([
    ['user:*@example.com', 'user:ann@example.com', true],
    ['user:*@example.com', 'user:ann@example.com.evil.org', false],
    ['*', '', true],
    ['job_?et', 'job_get', true],
    ['job_?et', 'job_geet', false],
    ['a.c', 'abc', false],
    ['/srv/*', '/srv/a/b\nc', true],
    ['exec', 'exec_batch', false],
  ])('%s of %j: %s', (glob, subject, matches) => {
    expect(compileGlob(glob)(subject)).toBe(matches);
  });

  it('is empty nowhere', () => {
    expect(globSource.safeParse('').success).toBe(false);
  });
});
