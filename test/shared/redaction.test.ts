import { describe, expect, it } from 'vitest';
import { areUsable, mask, masking, maskStrings } from '../../shared/redaction.ts';

const secret = [{ pattern: 'sk-[a-z0-9]{4,}', replacement: '[key]' }];
const LATER = Number.MAX_SAFE_INTEGER;

describe('masking', () => {
  it('replaces every match of every pattern, word for word', () => {
    const both = [...secret, { pattern: '(?i)token=(\\S+)', replacement: '$1 $& \\1' }];
    expect(mask('a sk-abcd sk-efgh TOKEN=x end', both)).toBe('a [key] [key] $1 $& \\1 end');
  });

  it('masks nothing for an empty match', () => {
    expect(mask('aXbXX', [{ pattern: 'X*', replacement: '-' }])).toBe('a-b-');
  });

  it('keeps characters whole, beyond the first plane too', () => {
    expect(mask('😀sk-abcd😀é', secret)).toBe('😀[key]😀é');
  });

  it('ends at its length, however long the replacements are', () => {
    const work = masking('x'.repeat(1_000), [{ pattern: 'x', replacement: 'y'.repeat(100) }], 250);
    let step = work.next();
    while (!step.done) step = work.next();
    expect(step.value).toBe('y'.repeat(250));
  });

  it('yields between slices, so that whoever runs it may stop', () => {
    const work = masking('x '.repeat(1_000), [{ pattern: 'x', replacement: '-' }], 10_000);
    expect(work.next().done).toBe(false);
  });

  it('reaches strings and names within a value', () => {
    const value = { 'sk-name': ['sk-abcd', 1, null, { a: 'say sk-abcd' }] };
    expect(maskStrings(value, secret, LATER)).toEqual({
      '[key]': ['[key]', 1, null, { a: 'say [key]' }],
    });
    expect(() => maskStrings(value, secret, 0)).toThrow('too long');
  });

  it('leaves out a text within a value that is longer than it may be', () => {
    const long = `${'a'.repeat(2_000_000)} sk-abcd`;
    const masked = maskStrings({ script: long, env: 'sk-abcd' }, secret, LATER, 1_000);
    expect(masked).toEqual({
      script: '[2000008 characters: too long to be masked here]',
      env: '[key]',
    });
    // Without patterns there is nothing to look for.
    expect(maskStrings({ script: long }, [], LATER, 1_000)).toEqual({ script: long });
  });

  it('knows a pattern that the engine does not take', () => {
    expect(areUsable(secret)).toBe(true);
    expect(areUsable([{ pattern: '(?<=a)b', replacement: '' }])).toBe(false);
    expect(areUsable([{ pattern: '(', replacement: '' }])).toBe(false);
  });
});
