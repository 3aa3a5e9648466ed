import { describe, expect, it } from 'vitest';
import { hashOfArguments, shownArguments } from '../../services/api/audit-arguments.ts';

const args = {
  command: ['login', '--token=sk-abcd'],
  env: { TOKEN: 'canary' },
  stdin: 'canary',
  files: [
    { path: 'a', content: 'canary' },
    { path: 'b', blob: 'sha256:x' },
  ],
  steps: [{ name: 'one', command: ['x'], stdin: 'canary' }, 'odd'],
};
const redactions = [{ pattern: 'sk-[a-z]+', replacement: '[key]' }];

describe('the arguments of a call', () => {
  it('are hashed alike in whatever order their fields came', () => {
    expect(hashOfArguments([{ a: 1, b: 2 }])).toBe(hashOfArguments([{ b: 2, a: 1 }]));
    expect(hashOfArguments([{ a: 1 }])).not.toBe(hashOfArguments([{ a: 2 }]));
    expect(hashOfArguments([{ a: 1 }, { b: 1 }])).not.toBe(hashOfArguments([{ b: 1 }, { a: 1 }]));
    expect(hashOfArguments([{}])).toBe(
      '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
    );
  });

  it('are not shown where the policy wants none, or their hash alone', () => {
    expect(shownArguments(args, 'none', redactions)).toBeUndefined();
    expect(shownArguments(args, 'hash', redactions)).toBeUndefined();
  });

  it('are shown without what may be secret, and masked, where it wants them redacted', () => {
    expect(shownArguments(args, 'redacted', redactions)).toEqual({
      command: ['login', '--token=[key]'],
      env: { TOKEN: '[withheld]' },
      stdin: '[withheld]',
      files: [
        { path: 'a', content: '[withheld]' },
        { path: 'b', blob: 'sha256:x' },
      ],
      steps: [{ name: 'one', command: ['x'], stdin: '[withheld]' }, 'odd'],
    });
  });

  it('of a dry run are shown without what may be secret of the job that it asks about', () => {
    const asked = { tool: 'exec', args: { command: ['x'], env: { TOKEN: 'hush' }, stdin: 'hush' } };
    expect(shownArguments(asked, 'redacted', [])).toEqual({
      tool: 'exec',
      args: { command: ['x'], env: { TOKEN: '[withheld]' }, stdin: '[withheld]' },
    });
  });

  it('are shown as they came where it wants them full, unless they are long', () => {
    expect(shownArguments(args, 'full', redactions)).toEqual(args);
    const long = { command: ['x'.repeat(20_000)] };
    expect(shownArguments(long, 'full', [])).toEqual({ omitted: '20016 characters' });
    expect(shownArguments(long, 'redacted', [])).toEqual({ omitted: '20016 characters' });
  });
});
