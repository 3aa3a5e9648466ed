import { describe, expect, it } from 'vitest';
import { runDocumentTests } from '../../../services/api/policy/document-tests.ts';
import { allowing, policyFrom, resolveWith } from './asking.ts';

const args = { command: ['true'] };
const test = (more: object): object => ({
  name: 't',
  tool: 'exec',
  args,
  expect: 'allow',
  ...more,
});

const failures = (rules: readonly object[], tests: readonly object[]): (string | null)[] =>
  runDocumentTests(policyFrom({ rules, tests }), resolveWith).map(({ failure }) => failure);

describe('a test of a document', () => {
  it('passes where verdict and rule are as expected, and says what came otherwise', () => {
    const rules = [
      allowing(),
      {
        name: 'no-curl',
        tools: ['exec'],
        action: 'deny',
        reason: 'No.',
        when: { path: 'args.command.0', op: 'eq', value: 'curl' },
      },
    ];
    const curl = { args: { command: ['curl'] } };
    expect(
      failures(rules, [
        test({}),
        test({ ...curl, expect: 'deny', rule: 'no-curl' }),
        test(curl),
        test({ ...curl, expect: 'deny', rule: 'may-run' }),
        test({ tool: 'job_get', args: {}, expect: 'deny', rule: null }),
      ]),
    ).toEqual([
      null,
      null,
      'expected allow; came deny by no-curl: No.',
      'expected deny by may-run; came deny by no-curl: No.',
      null,
    ]);
  });

  it('counts on counters of its own', () => {
    const rules = [allowing({ rate_limit: { max: 2, window: 60, per: 'grant' } })];
    const second = test({ repeat: 2 });
    const third = test({ repeat: 3, expect: 'rate_limited', rule: 'may-run' });
    const slow = test({ repeat: 3, every: 30 });
    expect(failures(rules, [second, third, second, slow])).toEqual([null, null, null, null]);
  });

  it('has what a full limit asks for: an approval, or another time', () => {
    const full = (onExceed: string) =>
      allowing({ rate_limit: { max: 1, window: 60, per: 'grant', onExceed } });
    const twice = (expected: string) => test({ repeat: 2, expect: expected });
    expect(failures([full('require_approval')], [twice('require_approval')])).toEqual([null]);
    expect(failures([full('queue')], [twice('rate_limited')])).toEqual([null]);
    const busy = allowing({ concurrency: { max: 1, per: 'grant' } });
    expect(failures([busy], [twice('rate_limited')])).toEqual([null]);
  });

  it('is made by a caller and at a time of its choice, else at a fixed one', () => {
    const rules = [allowing({ who: { callers: ['user:ann'] }, during: { days: ['tue'] } })];
    const ann = { caller: { name: 'user:ann' } };
    const tuesday = { at: '2026-01-06T09:00:00+01:00' };
    expect(
      failures(rules, [
        test({ ...ann, ...tuesday }),
        test({ ...tuesday, expect: 'deny' }),
        test({ ...ann, expect: 'deny' }),
      ]),
    ).toEqual([null, null, null]);
  });

  it('looks at what the job gets', () => {
    const rules = [allowing({ constrain: { max: { timeoutMs: 500 }, onExceed: 'clamp' } })];
    const asked = { args: { ...args, timeoutMs: 900 } };
    expect(
      failures(rules, [
        test({ ...asked, effective: { timeoutMs: 500, image: 'base' } }),
        test({ ...asked, effective: { timeoutMs: 900 } }),
      ]),
    ).toEqual([null, 'expected timeoutMs to be 900; came 500']);
  });

  it('is of the rules: neither shadow nor the kill switch changes it', () => {
    const tests = [test({}), test({ tool: 'job_get', args: {}, expect: 'deny' })];
    for (const more of [{ mode: 'shadow' }, { mode: 'off' }, { killSwitch: { active: true } }]) {
      const policy = policyFrom({ rules: [allowing()], tests, ...more });
      const results = runDocumentTests(policy, resolveWith);
      expect(results.map(({ failure }) => failure)).toEqual([null, null]);
    }
  });

  it('is one of not too many', () => {
    const tests = Array.from({ length: 11 }, () => test({ repeat: 1000 }));
    expect(() => policyFrom({ tests })).toThrow('tests: expected at most 10000 calls');
  });

  it('fails where the server itself refuses the request, whatever is expected', () => {
    const [above, malformed] = failures(
      [allowing()],
      [
        test({ args: { ...args, timeoutMs: 90_000_000 }, expect: 'deny' }),
        test({ args: { comand: ['true'] }, expect: 'deny' }),
      ],
    );
    expect(above).toContain('refused without the policy: timeoutMs: expected at most');
    expect(malformed).toContain('comand: expected no such field');
  });
});
