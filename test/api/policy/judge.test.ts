import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judge } from '../../../services/api/policy/judge.ts';
import type { Judgement } from '../../../services/api/policy/judgement.ts';
import { TOOLS } from '../../../shared/contract/policy.ts';
import type { JobRequestInput } from '../../../shared/contract/request.ts';
import { AppError } from '../../../shared/errors.ts';
import { allowing, ask, askRules, otherCall, policyFrom, resolveWith, runCall } from './asking.ts';

const command = ['true'];
const deny = (more: object = {}): object => ({
  name: 'no',
  tools: ['exec'],
  action: 'deny',
  reason: 'Not this.',
  ...more,
});
const approving = (more: object = {}): object => ({
  name: 'ask-first',
  tools: ['exec'],
  action: 'require_approval',
  reason: 'Somebody looks at it first.',
  ...more,
});
const short = (judgement: Judgement) => [judgement.kind, judgement.rule, judgement.reason];

describe('the order of a decision', () => {
  it('has the kill switch first: nothing runs, while looking and cancelling go on', () => {
    const policy = policyFrom({
      killSwitch: { active: true, reason: 'Incident 7.' },
      mode: 'off',
      rules: [allowing(), { name: 'look', tools: ['job_*'], action: 'allow' }],
    });
    expect(short(ask(policy, runCall({ command })))).toEqual([
      'refused',
      'kill_switch',
      'Incident 7.',
    ]);
    expect(ask(policy, otherCall('job_cancel')).kind).toBe('goes_on');
  });

  it('has hidden tools before every rule', () => {
    const policy = policyFrom({ hide: ['exec_*'], rules: [allowing()] });
    const hidden = ask(policy, runCall({ command }, { tool: 'exec_batch' }));
    expect(short(hidden)).toEqual(['refused', null, 'the tool exec_batch is not offered here']);
    expect(ask(policy, runCall({ command })).kind).toBe('goes_on');
  });

  it('has a deny before any allow, wherever either stands', () => {
    for (const rules of [
      [deny(), allowing()],
      [allowing(), deny()],
      [approving(), allowing(), deny()],
    ]) {
      expect(short(askRules(rules))).toEqual(['refused', 'no', 'Not this.']);
    }
  });

  it('names the first of several that deny', () => {
    const rules = [deny({ name: 'one' }), deny({ name: 'two' })];
    expect(askRules(rules).rule).toBe('one');
  });

  it('falls to the default where nothing allows', () => {
    expect(short(askRules([]))).toEqual(['refused', null, 'no rule allows it']);
    const open = policyFrom({ default: 'allow' });
    expect(short(ask(open, runCall({ command })))).toEqual(['goes_on', null, 'allowed by default']);
  });

  it('does not take a limit for a permission, but counts it beside one', () => {
    const limit = {
      name: 'all',
      tools: ['*'],
      action: 'limit',
      rate_limit: { max: 5, window: 60, per: 'tenant' },
    };
    expect(askRules([limit]).kind).toBe('refused');
    const allowed = askRules([limit, allowing()]);
    expect(allowed.kind === 'goes_on' && allowed.reservations.map(({ rule }) => rule)).toEqual([
      'all',
    ]);
  });

  it('demands an approval though another rule allows, and still reserves for both', () => {
    const judged = askRules([
      allowing({ rate_limit: { max: 5, window: 60, per: 'grant' } }),
      approving({
        approval: { approvers: ['user:*'], quorum: 2, expiresIn: '1h', remember: '1d' },
      }),
    ]);
    expect(judged).toMatchObject({ kind: 'goes_on', rule: 'ask-first' });
    expect(judged.kind === 'goes_on' && judged.approval).toEqual({
      rule: 'ask-first',
      reason: 'Somebody looks at it first.',
      approvers: ['user:*'],
      quorum: 2,
      expiresInMs: 3_600_000,
      onExpire: 'deny',
      rememberMs: 86_400_000,
      mayEdit: [],
      notify: [],
    });
    expect(judged.kind === 'goes_on' && judged.reservations).toHaveLength(1);
  });

  it('leaves the operator’s ceilings where they are', () => {
    const tooLong = runCall({ command, timeoutMs: 90_000_000 });
    expect(() => ask(policyFrom({ rules: [allowing()] }), tooLong)).toThrow(AppError);
  });
});

describe('whom and what a rule speaks of', () => {
  const asks = (rule: object, of?: Parameters<typeof runCall>[1]) =>
    askRules([allowing(rule)], { command }, of).kind === 'goes_on';

  it('is a caller, by name', () => {
    const who = { callers: ['user:*@example.com'] };
    expect(asks({ who }, { caller: { name: 'user:ann@example.com' } })).toBe(true);
    expect(asks({ who }, { caller: { name: 'user:ann@example.org' } })).toBe(false);
  });

  it('is a role, of its own or as a caller', () => {
    const ask2 = (who: object, name: string): boolean => {
      const rules = [allowing({ who })];
      const policy = policyFrom({ roles: { operators: ['user:op-*'] }, rules });
      return ask(policy, runCall({ command }, { caller: { name } })).kind === 'goes_on';
    };
    for (const who of [{ roles: ['operators'] }, { callers: ['role:operators', 'user:bob'] }]) {
      expect(ask2(who, 'user:op-1')).toBe(true);
      expect(ask2(who, 'user:eve')).toBe(false);
    }
    expect(ask2({ callers: ['role:operators', 'user:bob'] }, 'user:bob')).toBe(true);
  });

  it('is a tenant, and has every scope', () => {
    expect(asks({ who: { tenants: ['ac*'] } })).toBe(true);
    expect(asks({ who: { tenants: ['other'] } })).toBe(false);
    const scopes = ['exec:run', 'exec:batch'];
    expect(asks({ who: { scopes } })).toBe(true);
    expect(asks({ who: { scopes } }, { caller: { scopes: new Set(['exec:run']) } })).toBe(false);
  });

  it('is a time', () => {
    const during = { days: ['mon'], from: '11:00', to: '13:00' };
    expect(asks({ during })).toBe(true);
    expect(asks({ during }, { nowMs: Date.parse('2026-01-05T13:00:00Z') })).toBe(false);
  });

  it('is a rule that is enabled', () => {
    expect(asks({ enabled: false })).toBe(false);
  });

  it.each<[string, object, JobRequestInput]>([
    ['the argv', { path: 'args.command.0', op: 'eq', value: 'curl' }, { command: ['curl', 'x'] }],
    [
      'every step',
      { path: 'effective.steps.*.argv.0', op: 'eq', value: 'curl' },
      {
        steps: [
          { name: 'a', command },
          { name: 'b', command: ['curl'] },
        ],
      },
    ],
    ['a default', { path: 'effective.timeoutMs', op: 'eq', value: 10_000 }, { command }],
    [
      'a limit',
      { path: 'effective.limits.memoryMb', op: 'gt', value: 999 },
      { command, limits: { memoryMb: 1000 } },
    ],
    ['the image', { path: 'effective.image', op: 'in', value: ['base'] }, { command }],
    [
      'names of variables',
      { path: 'effective.env', op: 'contains', value: 'TOKEN' },
      { command, env: { TOKEN: 'x' } },
    ],
    [
      'bytes of files',
      { path: 'effective.files.bytes', op: 'gte', value: 3 },
      { command, files: [{ path: 'a', content: 'abc' }] },
    ],
    [
      'isolation',
      { path: 'effective.isolation', op: 'eq', value: 'group' },
      { command, isolation: 'group', group: 'g' },
    ],
    ['the tool', { path: 'tool.name', op: 'eq', value: 'exec' }, { command }],
    ['the caller', { path: 'caller.scopes', op: 'contains', value: 'exec:run' }, { command }],
    ['the clock', { path: 'time.weekday', op: 'eq', value: 'mon' }, { command }],
  ])('sees %s', (_what, when, request) => {
    const matched = askRules([allowing(), deny({ when })], request);
    expect(short(matched)).toEqual(['refused', 'no', 'Not this.']);
    expect(askRules([allowing(), deny({ when: { not: when } })], request).kind).toBe('goes_on');
  });

  it('refuses what a pattern would have to read too much of, whatever the rule is for', () => {
    const when = { path: 'args.script', op: 'regex', value: '(a+)+b' };
    const script = 'a'.repeat(100_000);
    const reason = 'patterns read at most 4096 bytes; came 100000';
    for (const rule of [deny({ when }), deny({ when: { not: when } }), allowing({ when })]) {
      const judged = askRules([allowing({ name: 'open' }), rule], { script });
      expect(judged).toMatchObject({ kind: 'refused', reason });
    }
    const shadow = deny({ when, mode: 'shadow' });
    const judged = askRules([allowing(), shadow], { script });
    expect(judged).toMatchObject({ kind: 'goes_on', shadow: [{ rule: 'no', decision: 'deny' }] });
  });
});

describe('what a rule asks for', () => {
  it('is required of the job as it will be, constraints applied', () => {
    const rule = allowing({
      constrain: { max: { timeoutMs: 5_000 }, onExceed: 'clamp' },
      require: [
        { when: { path: 'effective.timeoutMs', op: 'lte', value: 5_000 }, reason: 'Too long.' },
        { when: { path: 'args.reason', op: 'exists' }, reason: 'Say why in `reason`.' },
      ],
    });
    const asked = { command, timeoutMs: 60_000 };
    expect(short(askRules([rule], asked))).toEqual(['refused', 'may-run', 'Say why in `reason`.']);
    const judged = askRules([rule], { ...asked, reason: 'a test' });
    expect(judged.kind === 'goes_on' && judged.resolved?.spec.timeoutMs).toBe(5_000);
  });

  it('goes on as the request that the policy left of it: what an approver edits begins there', () => {
    const constrain = {
      max: { memoryMb: 128 },
      defaults: { timeoutMs: 3_000 },
      env: ['LANG'],
      onExceed: 'clamp',
    };
    const env = { LANG: 'C', LD_PRELOAD: 'x' };
    const judged = askRules([approving({ constrain })], {
      command,
      env,
      limits: { memoryMb: 512 },
    });
    const request = judged.kind === 'goes_on' ? judged.resolved?.request : undefined;
    expect(request).toMatchObject({ timeoutMs: 3_000, limits: { memoryMb: 128 } });
    expect(request?.env).toEqual({ LANG: 'C' });
  });

  it('is masked by the patterns of all rules', () => {
    const judged = askRules([
      allowing({ redact: ['sk-[a-z]+'] }),
      allowing({ name: 'more', redact: [{ pattern: 'x', replacement: '-' }] }),
    ]);
    expect(judged.kind === 'goes_on' && judged.redactions).toEqual([
      { pattern: 'sk-[a-z]+', replacement: '[redacted]' },
      { pattern: 'x', replacement: '-' },
    ]);
  });
});

describe('shadow', () => {
  it('of a rule says what the rule would have done, and changes nothing', () => {
    const judged = askRules(
      [
        allowing(),
        deny({ mode: 'shadow' }),
        approving({ mode: 'shadow' }),
        allowing({
          name: 'tight',
          mode: 'shadow',
          constrain: { max: { timeoutMs: 5 } },
          rate_limit: { max: 1, window: 60, per: 'grant' },
        }),
        allowing({
          name: 'loose',
          mode: 'shadow',
          rate_limit: { max: 1, window: 60, per: 'grant' },
        }),
      ],
      { command, timeoutMs: 1000 },
    );
    expect(judged).toMatchObject({
      kind: 'goes_on',
      rule: 'may-run',
      approval: null,
      reservations: [{ rule: 'loose', isShadow: true }],
    });
    expect(judged.shadow.map(({ rule, decision }) => [rule, decision])).toEqual([
      ['no', 'deny'],
      ['ask-first', 'require_approval'],
      ['tight', 'deny'],
      ['loose', 'allow'],
    ]);
    expect(judged.kind === 'goes_on' && judged.resolved?.spec.timeoutMs).toBe(1000);
  });

  it('of the document lets everything through as it came', () => {
    const rules = [
      allowing({
        redact: ['x'],
        constrain: { max: { timeoutMs: 5_000 }, onExceed: 'clamp' },
        rate_limit: { max: 1, window: 1, per: 'grant' },
      }),
    ];
    const open = ask(
      policyFrom({ mode: 'shadow', rules }),
      runCall({ command, timeoutMs: 60_000 }),
    );
    expect(open).toMatchObject({
      kind: 'goes_on',
      rule: null,
      redactions: [],
      reservations: [{ isShadow: true }],
      shadow: [{ rule: 'may-run', decision: 'allow' }],
    });
    expect(open.kind === 'goes_on' && open.resolved?.spec.timeoutMs).toBe(60_000);
    const shut = ask(policyFrom({ mode: 'shadow', hide: ['exec'] }), runCall({ command }));
    expect(shut).toMatchObject({
      kind: 'goes_on',
      shadow: [{ rule: 'default', decision: 'deny' }],
    });
  });

  it('is not needed where the document is off', () => {
    const judged = ask(policyFrom({ mode: 'off', rules: [deny()] }), runCall({ command }));
    expect(judged).toMatchObject({ kind: 'goes_on', shadow: [], reservations: [] });
  });
});

describe('any policy over any call', () => {
  const when = fc.constantFrom(
    { path: 'args.command.0', op: 'eq', value: 'curl' },
    { path: 'effective.limits.memoryMb', op: 'gt', value: 300 },
    { not: { path: 'args.env.*', op: 'regex', value: '^s' } },
    { path: 'caller.session', op: 'exists' },
  );
  const limit = fc.record({
    max: fc.integer({ min: 1, max: 9 }),
    window: fc.constantFrom(60, 'hour'),
    per: fc.constantFrom('session', 'grant', 'tenant', 'image', 'global'),
    meter: fc.constantFrom('calls', 'wallMs', 'outputBytes'),
  });
  const parts = fc.record(
    {
      mode: fc.constantFrom('enforce', 'shadow'),
      tools: fc.constantFrom(['exec'], ['exec*']),
      when,
      rate_limit: limit,
      require: when.map((one) => [{ when: one, reason: 'required' }]),
      constrain: fc.record({
        max: fc.record({
          timeoutMs: fc.integer({ min: 1, max: 20_000 }),
          memoryMb: fc.integer({ min: 16, max: 512 }),
        }),
        onExceed: fc.constantFrom('clamp', 'deny'),
      }),
    },
    { requiredKeys: ['tools'] },
  );
  const document = fc.record({
    default: fc.constantFrom('allow', 'deny'),
    mode: fc.constantFrom('enforce', 'shadow', 'off'),
    rules: fc
      .array(
        fc
          .tuple(fc.constantFrom('allow', 'deny', 'require_approval'), parts)
          .map(([action, more]) =>
            action === 'deny'
              ? { action, reason: 'no', tools: more.tools, mode: more.mode, when: more.when }
              : { action, ...more },
          ),
        { maxLength: 6 },
      )
      .map((rules) =>
        rules.map((rule, index) => JSON.parse(JSON.stringify({ ...rule, name: `rule-${index}` }))),
      ),
  });
  const request = fc.record(
    {
      command: fc.array(fc.constantFrom('curl', 'true', '-x'), { minLength: 1, maxLength: 3 }),
      timeoutMs: fc.integer({ min: 1, max: 600_000 }),
      limits: fc.record({ memoryMb: fc.integer({ min: 130, max: 2048 }) }),
      env: fc.record({ TOKEN: fc.constantFrom('s1', 'x') }),
    },
    { requiredKeys: ['command'] },
  );

  it('has one answer, always the same, and never more than was allowed', () => {
    fc.assert(
      fc.property(document, request, fc.constantFrom(...TOOLS), (rules, asked, tool) => {
        const policy = policyFrom(rules);
        const runs = tool === 'exec' || tool === 'exec_batch';
        const call = runs ? runCall(asked, { tool }) : otherCall(tool);
        const judged = judge({ policy, call, resolveWith });
        expect(judge({ policy: policyFrom(rules), call, resolveWith })).toEqual(judged);
        expect(judged.reason).not.toBe('');
        if (judged.kind === 'refused' || policy.mode !== 'enforce' || !runs) return;
        const enforced = (policy.rules.get(tool) ?? []).filter(({ isShadow }) => !isShadow);
        expect(judged.rule !== null || policy.default === 'allow').toBe(true);
        expect(judged.resolved).not.toBeNull();
        for (const one of judged.reservations.filter(({ isShadow }) => !isShadow)) {
          expect(enforced.map(({ name }) => name)).toContain(one.rule);
        }
        const bounds = judged.reservations
          .filter(({ isShadow }) => !isShadow)
          .map(
            ({ rule }) =>
              enforced.find(({ name }) => name === rule)?.constraints?.max.timeoutMs ?? Infinity,
          );
        expect(judged.resolved?.spec.timeoutMs).toBeLessThanOrEqual(Math.min(Infinity, ...bounds));
      }),
      { numRuns: 1000 },
    );
  });

  it('of fifty rules has it in well under a millisecond', () => {
    const rules = Array.from({ length: 50 }, (_, index) => ({
      name: `rule-${index}`,
      tools: ['exec'],
      action: 'deny',
      reason: 'no',
      who: { callers: ['user:*'] },
      during: { from: '00:00', to: '23:00', timezone: 'Europe/Berlin' },
      when: {
        all: [
          { path: 'args.command', op: 'regex', value: `^tool-${index}( |$)`, each: 'joined' },
          { path: 'effective.timeoutMs', op: 'gt', value: index },
        ],
      },
    }));
    const policy = policyFrom({
      rules: [...rules, allowing({ rate_limit: { max: 10, window: 60 } })],
    });
    const times = Array.from({ length: 300 }, (_, index) => {
      const call = runCall({ command: ['python3', '-c', `print(${index})`] });
      const before = performance.now();
      expect(ask(policy, call).kind).toBe('goes_on');
      return performance.now() - before;
    }).toSorted((a, b) => a - b);
    const median = times[150] ?? 0;
    process.stdout.write(
      `50 rules: p50 ${median.toFixed(3)} ms, p99 ${times[297]?.toFixed(3)} ms\n`,
    );
    // A hundred times what it takes: what is compiled anew for each call takes longer.
    expect(median).toBeLessThan(10);
  });
});
