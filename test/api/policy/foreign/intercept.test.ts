import { describe, expect, it } from 'vitest';
import { loadPolicy } from '../../../../services/api/policy/load.ts';
import type { JobRequestInput } from '../../../../shared/contract/request.ts';
import { ask, otherCall, policyOfText, runCall } from '../asking.ts';
import { fixture } from './fixture.ts';

const command = ['true'];
const fine = { command, image: 'base', timeoutMs: 1000 };

describe('a document of Intercept', () => {
  it('lets through what meets every condition, charged to its limits and to those of all tools', () => {
    const judged = ask(fixture('intercept.yaml'), runCall(fine));
    expect(judged).toMatchObject({ kind: 'goes_on', rule: 'exec-is-listed' });
    const charged = judged.kind === 'goes_on' ? judged.reservations : [];
    expect(charged).toMatchObject([
      {
        max: 50,
        windowMs: 3_600_000,
        algorithm: 'fixed',
        reason: 'Hourly limit of 50 runs reached',
      },
      { max: 199, windowMs: 86_400_000 },
      { max: 60, windowMs: 60_000 },
    ]);
  });

  it.each<[JobRequestInput, string]>([
    [{ ...fine, image: 'node' }, 'Only base and python, with a command'],
    [{ script: 'true', image: 'base', timeoutMs: 1000 }, 'Only base and python, with a command'],
    [{ ...fine, timeoutMs: 90_000 }, 'Say a timeoutMs of a minute or less; 200 runs a day'],
  ])('denies what does not: %j', (request, reason) => {
    expect(ask(fixture('intercept.yaml'), runCall(request))).toMatchObject({
      kind: 'refused',
      reason,
    });
  });

  it('hides, denies outright, and denies what it does not list', () => {
    const policy = fixture('intercept.yaml');
    expect(ask(policy, runCall(fine, { tool: 'exec_batch' }))).toMatchObject({ rule: null });
    expect(ask(policy, otherCall('job_cancel')).reason).toBe('Jobs are not cancelled by agents');
    expect(ask(policy, otherCall('job_get')).kind).toBe('goes_on');
    expect(ask(policy, otherCall('job_list')).reason).toBe('no rule allows it');
  });

  it('allows by default, as Intercept does', () => {
    const text = 'version: "1"\ntools:\n  exec:\n    rules: []\n';
    expect(ask(policyOfText(text), otherCall('job_list')).kind).toBe('goes_on');
  });

  const withRule = (rule: string): string =>
    `version: "1"\ntools:\n  exec:\n    rules:\n      - name: r\n${rule.replace(/^/gm, '        ')}\n`;
  it.each([
    ['rate_limit: 5/week', 'tools.exec.rules.0.rate_limit'],
    ['action: deny\nrate_limit: 5/hour', 'tools.exec.rules.0.action'],
    ['on_deny: nothing to deny', 'tools.exec.rules.0.conditions'],
    [
      'conditions: [{path: state.exec.spend, op: lte, value: 9}]\nstate: {counter: spend, window: day, increment_from: args.timeoutMs}',
      'tools.exec.rules.0.state.increment_from',
    ],
    ['conditions: [{path: state.other.calls, op: lte, value: 9}]', 'tools.exec.rules.0.conditions'],
  ])('is refused where it cannot be followed: %s', (rule, path) => {
    const loaded = loadPolicy(withRule(rule));
    expect('faults' in loaded && loaded.faults.map((fault) => fault.path)).toEqual([path]);
  });

  it('about other tools alone is refused: it would let everything through', () => {
    const text =
      'version: "1"\ntools:\n  create_issue:\n    rules:\n      - {name: a, rate_limit: 5/hour}\n';
    const loaded = loadPolicy(text);
    expect('faults' in loaded && loaded.faults[0]?.reason).toContain('came create_issue');
  });
});
