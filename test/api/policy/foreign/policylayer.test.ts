import { describe, expect, it } from 'vitest';
import { loadPolicy } from '../../../../services/api/policy/load.ts';
import type { JobRequestInput } from '../../../../shared/contract/request.ts';
import { ask, otherCall, policyOfText, runCall } from '../asking.ts';
import { fixture } from './fixture.ts';

const fine = { command: ['true'], reason: 'a test' };

describe('a document of PolicyLayer', () => {
  it('lets through what has what is required, charged per key', () => {
    const judged = ask(fixture('policylayer.json'), runCall(fine));
    expect(judged).toMatchObject({
      kind: 'goes_on',
      reservations: [
        { rule: 'runs', max: 30, windowMs: 60_000, reason: '30 runs a minute' },
        { max: 100, windowMs: 60_000 },
      ],
    });
  });

  it.each<[JobRequestInput, string]>([
    [{ command: ['true'] }, 'Say why in `reason`.'],
    [{ ...fine, command: ['curl', 'x'] }, 'There is no network.'],
    [{ ...fine, timeoutMs: 90_000 }, 'The policy denies args.timeoutMs gt 60000'],
  ])('denies the rest: %j', (request, reason) => {
    expect(ask(fixture('policylayer.json'), runCall(request))).toMatchObject({
      kind: 'refused',
      reason,
    });
  });

  it('hides, allows what it lists as {}, and denies what it does not list', () => {
    const policy = fixture('policylayer.json');
    expect(ask(policy, runCall(fine, { tool: 'exec_batch' })).reason).toContain('not offered');
    expect(ask(policy, otherCall('job_get')).kind).toBe('goes_on');
    expect(ask(policy, otherCall('job_list')).kind).toBe('refused');
  });

  it('that only lists tools is one too', () => {
    const policy = policyOfText('{"version": "1", "default": "deny", "tools": {"exec": {}}}');
    expect(ask(policy, runCall(fine)).kind).toBe('goes_on');
  });

  it.each<[object, string]>([
    [{ tools: { exec: { require: [] } } }, 'default'],
    [
      { default: 'deny', tools: { exec: { deny_if: [{ op: 'eq' }] } } },
      'tools.exec.deny_if.0.path',
    ],
    [
      { default: 'deny', tools: { exec: { limits: [{ max: 1, window: 1, per: 'x' }] } } },
      'tools.exec.limits.0.per',
    ],
    [
      { default: 'deny', tools: { exec: { deny_if: [{ path: 'args.x', op: 'like', value: 1 }] } } },
      'rules.0.when.op',
    ],
    [{ default: 'allow', tools: { create_charge: { limits: [] } } }, 'tools'],
  ])('is refused where it is wrong: %j', (document, path) => {
    const loaded = loadPolicy(JSON.stringify({ version: '1', ...document }));
    expect('faults' in loaded && loaded.faults.map((fault) => fault.path)).toEqual([path]);
  });
});
