import { describe, expect, it } from 'vitest';
import { loadPolicy } from '../../../../services/api/policy/load.ts';
import { ask, otherCall, policyOfText, runCall } from '../asking.ts';
import { fixture } from './fixture.ts';

const command = ['true'];

describe('a document in the form of the seed', () => {
  it('limits runs per session, batches with them, on the same counter', () => {
    const policy = fixture('seed.json');
    const one = ask(policy, runCall({ command }));
    expect(one).toMatchObject({
      kind: 'goes_on',
      rule: 'exec',
      reservations: [
        {
          max: 10,
          windowMs: 60_000,
          algorithm: 'sliding',
          reason: 'Ten runs a minute per session.',
        },
        { max: 100 },
      ],
    });
    const ofBatch = ask(policy, runCall({ command }, { tool: 'exec_batch' }));
    expect(ofBatch).toMatchObject({
      reservations: one.kind === 'goes_on' ? one.reservations : [],
    });
  });

  it('denies with its reason, and leaves what it does not name as it is', () => {
    const policy = fixture('seed.json');
    expect(ask(policy, otherCall('job_cancel'))).toMatchObject({
      kind: 'refused',
      reason: 'Ask the operators to cancel.',
    });
    expect(ask(policy, otherCall('job_get')).kind).toBe('goes_on');
  });

  it.each([
    ['deny', 'refused'],
    ['allow', 'goes_on'],
    ['require_approval', 'goes_on'],
  ])('has the action %s', (action, kind) => {
    const text = JSON.stringify({ tools: { exec: { action, reason: 'Because.' } } });
    const judged = ask(policyOfText(text), runCall({ command }));
    expect(judged.kind).toBe(kind);
    expect(judged.kind === 'goes_on' && judged.approval !== null).toBe(
      action === 'require_approval',
    );
  });

  it.each<[object, string]>([
    [{ exec: { action: 'forbid' } }, 'tools.exec.action'],
    [{ exec: { action: 'rate_limit' } }, 'tools.exec.rate_limit'],
    [{ exec: { action: 'allow', limit: 1 } }, 'tools.exec.limit'],
    [{ run_shell: { action: 'allow' } }, 'tools'],
  ])('is refused where it is wrong: %j', (tools, path) => {
    const loaded = loadPolicy(JSON.stringify({ tools }));
    expect('faults' in loaded && loaded.faults.map((fault) => fault.path)).toEqual([path]);
  });
});
