import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { runDocumentTests } from '../../../services/api/policy/document-tests.ts';
import { loadPolicy } from '../../../services/api/policy/load.ts';
import { policyOfText, resolveWith } from './asking.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const EXAMPLE = readFileSync(path.join(ROOT, 'docs/policies/example.yaml'), 'utf8');

const faultsOf = (text: string): string[] => {
  const loaded = loadPolicy(text);
  return 'faults' in loaded ? loaded.faults.map((one) => `${one.path}: ${one.reason}`) : [];
};

describe('the example', () => {
  it('loads, and its tests pass', () => {
    const policy = policyOfText(EXAMPLE);
    expect(policy.name).toBe('agents');
    expect(runDocumentTests(policy, resolveWith)).toEqual([
      { name: 'curl is refused', failure: null },
      { name: 'the eleventh run is limited', failure: null },
    ]);
  });

  it('is in the document about policies, word for word', () => {
    expect(readFileSync(path.join(ROOT, 'docs/policy.md'), 'utf8')).toContain(EXAMPLE);
  });
});

describe('the revision', () => {
  it('follows what a document says and not how it is written', () => {
    const yaml = policyOfText('version: "1"\ndefault: allow # open\nname: x\n');
    const json = policyOfText('{"name": "x", "default": "allow", "version": "1"}');
    expect(json.revision).toBe(yaml.revision);
    expect(json.revision).toMatch(/^[0-9a-f]{12}$/);
    expect(policyOfText('version: "1"\nname: x\n').revision).not.toBe(yaml.revision);
  });
});

const withRule = (rule: object): string =>
  JSON.stringify({
    version: '1',
    rules: [{ name: 'r', tools: ['exec'], action: 'allow', ...rule }],
  });

describe('a broken document is refused, with path and reason:', () => {
  it.each<[string, string, string, string]>([
    ['text that is no YAML', 'version: "1"\n  rules: [', '', 'at line 2'],
    ['another version', 'version: 1', 'version', 'expected "1"; came 1'],
    ['a list', '[]', '', 'object'],
    ['nothing', '', '', 'object'],
    ['an unknown field', 'version: "1"\nrulez: []', 'rulez', 'no such field'],
    ['a key twice', 'version: "1"\nversion: "1"', '', 'unique'],
    ['a deny without a reason', withRule({ action: 'deny' }), 'rules.0.reason', 'came none'],
    ['a tool that is none', withRule({ tools: ['exce'] }), 'rules.0.tools.0', 'exec_batch'],
    [
      'a window that is none',
      withRule({ rate_limit: { max: 1, window: 'fortnight' } }),
      'rules.0.rate_limit.window',
      'came "fortnight"',
    ],
    [
      'one limit of several',
      withRule({
        rate_limit: [
          { max: 1, window: 1 },
          { max: 0, window: 1 },
        ],
      }),
      'rules.0.rate_limit.1.max',
      '>0',
    ],
    [
      'a pattern that is none',
      withRule({ when: { any: [{ path: 'args.x', op: 'regex', value: '(' }] } }),
      'rules.0.when.any.0.value',
      'RE2',
    ],
    [
      'an operator that is none',
      withRule({ when: { path: 'args.x', op: 'like', value: '' } }),
      'rules.0.when.op',
      'came "like"',
    ],
    [
      'a path that leads nowhere',
      withRule({ when: { path: 'effective.memory', op: 'gt', value: 1 } }),
      'rules.0.when.path',
      'expected effective. and one of',
    ],
    [
      'a role that is none',
      withRule({ who: { roles: ['ops'] } }),
      'rules.0.who.roles.0',
      'came "ops"',
    ],
    [
      'an approver’s role that is none',
      withRule({ action: 'require_approval', approval: { approvers: ['role:ops'] } }),
      'rules.0.approval.approvers.0',
      'came "role:ops"',
    ],
    [
      'a notifier that is none',
      withRule({ action: 'require_approval', approval: { notify: ['chat'] } }),
      'rules.0.approval.notify.0',
      'came "chat"',
    ],
    [
      'an approval that nothing asks for',
      withRule({ approval: {} }),
      'rules.0.approval',
      'nothing of this rule does',
    ],
    [
      'an approval of what cannot wait',
      withRule({ tools: ['*'], action: 'require_approval' }),
      'rules.0.tools',
      'exec and exec_batch',
    ],
    [
      'a limit beside a deny',
      withRule({ action: 'deny', reason: 'no', rate_limit: { max: 1, window: 1 } }),
      'rules.0.rate_limit',
      'beside `action: deny`',
    ],
    ['a limit without one', withRule({ action: 'limit' }), 'rules.0.action', 'rate_limit'],
    [
      'a ceiling of a key where none is needed',
      withRule({ rate_limit: { max: 1, window: 1, per: 'grant', grantMax: 2 } }),
      'rules.0.rate_limit.grantMax',
      'per: session',
    ],
    [
      'a time zone that is none',
      withRule({ during: { timezone: 'Mars/Olympus' } }),
      'rules.0.during.timezone',
      'IANA',
    ],
    [
      'a test of a rule that is none',
      JSON.stringify({
        version: '1',
        tests: [{ name: 't', tool: 'exec', expect: 'allow', rule: 'x' }],
      }),
      'tests.0.rule',
      'came "x"',
    ],
    [
      'a reason of two lines',
      withRule({ action: 'deny', reason: 'a\nb' }),
      'rules.0.reason',
      'one line',
    ],
    ['a role’s name that is none', 'version: "1"\nroles: {"A B": [x]}', 'roles.A B', 'lower-case'],
    [
      'a batch bounded by what its jobs are',
      withRule({ when: { path: 'args.x', op: 'exists' }, constrain: { max: { batchSize: 3 } } }),
      'rules.0.constrain.max.batchSize',
      'no `when`',
    ],
  ])('%s', (_what, text, at, words) => {
    const found = faultsOf(text);
    expect(found.map((fault) => fault.slice(0, fault.indexOf(':')))).toContain(at);
    expect(found.join('\n')).toContain(words);
  });

  it('everything that is wrong is said at once', () => {
    const text = `
version: "2"
nmae: x
rules:
  - { name: a, tools: [exec], action: allow }
  - { name: a, tools: [nothing], action: deny }
`;
    expect(
      faultsOf(text)
        .map((fault) => fault.split(':')[0])
        .toSorted(),
    ).toEqual(['nmae', 'rules.1.reason', 'rules.1.tools.0', 'version']);
  });

  it('two rules of one name', () => {
    const rule = { name: 'a', tools: ['exec'], action: 'allow' };
    expect(faultsOf(JSON.stringify({ version: '1', rules: [rule, rule] }))).toEqual([
      'rules.1.name: expected a name of its own; came a twice',
    ]);
  });

  it('one that is too large, too deep, or unfolds to too much', () => {
    expect(faultsOf('x'.repeat(2_000_000)).join()).toContain('at most 262144 characters');
    expect(faultsOf(`{"version": ${'['.repeat(60)}${']'.repeat(60)}}`).join()).toContain('levels');
    expect(faultsOf('['.repeat(100_000)).length).toBeLessThanOrEqual(10);
    const bombs = [
      'a: &a [x, x]',
      ...'bcdefghij'.split('').map((name, index) => {
        const before = 'abcdefghij'[index];
        return `${name}: &${name} [${Array(10).fill(`*${before}`).join(', ')}]`;
      }),
    ];
    expect(faultsOf(bombs.join('\n')).join()).toMatch(/alias/i);
  });
});
