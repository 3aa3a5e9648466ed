import { describe, expect, it } from 'vitest';
import { permit } from '../../services/worker/permit.ts';
import { type JobRecord, recordOf } from '../../shared/queue/job-record.ts';
import { aSpec } from './spec.ts';

const record = (over: Record<string, string> = {}): JobRecord =>
  recordOf({
    tenant: 't',
    state: 'running',
    acceptedAt: '1',
    expiresAt: '2',
    retainMs: '3',
    budgetMs: '4',
    image: 'base',
    runtime: 'runc',
    labels: '{}',
    lane: 'interactive',
    starts: '1',
    ...over,
  });

interface Begun {
  readonly fields?: Record<string, string>;
  readonly killed?: string;
  readonly spec?: string;
}

const endOf = ({ fields, killed, spec = JSON.stringify(aSpec()) }: Begun) =>
  permit('job_1', { spec, record: record(fields), killed }, () => true).end;

describe('a worker', () => {
  it('runs a job that is as it was accepted', () => {
    const begun = { spec: JSON.stringify(aSpec()), record: record(), killed: undefined };
    expect(permit('job_1', begun, () => true)).toEqual({ spec: aSpec(), end: undefined });
  });

  it('H41 runs nothing while the kill switch is on, whatever was approved before', () => {
    const approved = { needsApproval: 'apr_1', approval: 'approved' };
    expect(endOf({ fields: approved, killed: 'Stop.' })).toEqual({
      kind: 'denied',
      rule: 'kill_switch',
      reason: 'Stop.',
    });
  });

  it('runs a job that needs an approval with it, and with nothing else', () => {
    const waiting = { needsApproval: 'apr_1' };
    expect(endOf({ fields: waiting })).toMatchObject({ kind: 'denied', rule: 'approval' });
    expect(endOf({ fields: { ...waiting, approval: 'approved' } })).toBeUndefined();
  });

  it('runs no job that was cancelled, says by whom, and none a second time that must not be', () => {
    const cancelled = endOf({ fields: { cancelledBy: 'operator' } });
    expect(cancelled).toEqual({ kind: 'cancelled', by: 'operator' });
    const again = { fields: { starts: '2' } };
    const once = JSON.stringify(aSpec({ onLost: 'fail' }));
    expect(endOf({ ...again, spec: once })).toEqual({ kind: 'lost', cause: 'worker_lost' });
    expect(endOf(again)).toBeUndefined();
  });

  it('runs nothing that it cannot read', () => {
    expect(endOf({ spec: '{"version":3}' })).toEqual({ kind: 'lost', cause: 'spec_unreadable' });
  });

  it('looks at the signature before anything else', () => {
    const begun = { spec: 'no JSON', record: record({ cancelledBy: 'caller' }), killed: 'Stop.' };
    expect(permit('job_1', begun, () => false).end).toEqual({ kind: 'lost', cause: 'spec_forged' });
  });
});
