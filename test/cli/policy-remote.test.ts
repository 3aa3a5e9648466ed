import { describe, expect, it } from 'vitest';
import { argsOf, showCheck, showPolicy } from '../../services/cli/policy-remote.ts';

const checked = {
  decision: 'rate_limited',
  rule: 'run',
  reason: '10 a minute',
  retryAfterMs: 1200,
  approvalId: null,
  revision: 'abc',
  effective: null,
  limitsLeft: [
    { rule: 'run', counts: 'calls', max: 10, windowMs: 60_000, left: 0, retryAfterMs: 1200 },
    { rule: 'run', counts: 'concurrency', max: 2, windowMs: null, left: 1, retryAfterMs: 0 },
  ],
} as const;

describe('policy check', () => {
  it('says what, by which rule, why and when to come back, and what each limit has left', () => {
    expect(showCheck({ ...checked, limitsLeft: [...checked.limitsLeft] }).split('\n')).toEqual([
      'rate_limited by the rule run: 10 a minute',
      'retry in 2 s',
      'run: 0 of 10 left after this call (calls in 60 s)',
      'run: 1 of 2 left after this call (concurrency at once)',
      'revision abc',
    ]);
  });

  it('makes a request of words and flags, and of a JSON object beneath them', () => {
    const args = '{"image":"python","limits":{"cpus":2},"command":["x"]}';
    expect(argsOf([], { tool: 'exec' })).toEqual({});
    expect(argsOf(['curl', 'x'], { tool: 'exec', args, memory: '64', timeout: '5' })).toEqual({
      image: 'python',
      command: ['curl', 'x'],
      timeoutMs: 5,
      limits: { cpus: 2, memoryMb: 64 },
    });
    expect(() => argsOf([], { tool: 'exec', args: '[1]' })).toThrow(/expected a JSON object/);
    expect(() => argsOf(['x'], { tool: 'exec', timeout: '5s' })).toThrow(
      '--timeout: expected a whole number; came 5s',
    );
  });
});

describe('policy show', () => {
  it('says where the document came from, and whether it is the newest', () => {
    const shown = showPolicy({
      revision: 'abc',
      name: 'agents',
      mode: 'enforce',
      source: 'file',
      since: '2026-01-01T00:00:00.000Z',
      by: '/etc/policy.yaml',
      problems: ['the file is broken'],
      document: { version: '1' },
    });
    expect(shown.split('\n').slice(0, 3)).toEqual([
      '# agents, revision abc, mode enforce',
      '# from file (/etc/policy.yaml), in force since 2026-01-01T00:00:00.000Z',
      '# NOT THE NEWEST: the file is broken',
    ]);
  });
});
