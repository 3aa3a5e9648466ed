import { describe, expect, it } from 'vitest';
import { editOf, plain, showApproval, showApprovals } from '../../services/cli/approvals.ts';
import type { ApprovalView } from '../../shared/contract/approval.ts';

const AT = '2030-01-01T00:00:00.000Z';
const view: ApprovalView = {
  id: `apr_${'0'.repeat(32)}`,
  state: 'pending',
  job: `job_${'1'.repeat(32)}`,
  batch: null,
  tenant: 'acme',
  caller: { grant: 'k1', name: 'user:ann' },
  rule: 'big-jobs',
  reason: 'too big',
  approvers: ['role:operators'],
  quorum: 2,
  mayEdit: ['timeoutMs'],
  createdAt: AT,
  expiresAt: AT,
  decidedAt: null,
  onExpire: 'deny',
  rememberMs: 0,
  fingerprint: 'f'.repeat(64),
  revision: 'r1',
  decisions: [
    {
      decision: 'approve',
      by: { grant: 'k2', name: 'user:bob' },
      at: AT,
      reason: 'fine',
      edit: ['timeoutMs'],
    },
  ],
  request: { command: ['make', 'all'] },
};

describe('approvals show', () => {
  it('says who asked for what, why, and who has to decide', () => {
    const text = showApproval(view);
    expect(text).toContain('asked by     user:ann (key k1)');
    expect(text).toContain('because      too big (rule big-jobs, policy r1)');
    expect(text).toContain(
      '2 of role:operators, until 2030-01-01T00:00:00.000Z; then it is denied',
    );
    expect(text).toContain('user:bob: approve with other timeoutMs, fine');
    expect(text).toContain('"make"');
  });

  it('obeys and hides nothing that the request holds', () => {
    const script = 'rm -rf /\u001b[2K\r\u009b1Aecho ok \u202eevil\u200b\u{e0041}';
    const text = showApproval({ ...view, reason: 'a\u001b[31mb', request: { script } });
    expect(text).toContain('a\\u{1b}[31mb');
    expect(text).toContain('\\u{9b}1Aecho ok \\u{202e}evil\\u{200b}\\u{e0041}');
    for (const one of ['\u001b', '\r', '\u009b', '\u202e', '\u200b', '\u{e0041}']) {
      expect(text).not.toContain(one);
    }
    expect(plain('ü 🙂 line\nnext')).toBe('ü 🙂 line\nnext');
  });
});

describe('approvals list', () => {
  it('has a line for each, even where a name has several', () => {
    const odd = { ...view, caller: { grant: 'k', name: 'a\nb' } };
    expect(showApprovals([view, odd]).split('\n')).toHaveLength(3);
  });
});

describe('--edit', () => {
  it.each([
    ['timeoutMs=5000', { timeoutMs: 5000 }],
    ['image=python', { image: 'python' }],
    ['limits={"memoryMb":64}', { limits: { memoryMb: 64 } }],
    ['env.A=b=c', { 'env.A': 'b=c' }],
    ['stdin=null', { stdin: null }],
    ['stdin=', { stdin: '' }],
  ])('%s is %j', (text, edit) => {
    expect(editOf(text)).toEqual(edit);
    expect(editOf(text, { before: 1 })).toEqual({ before: 1, ...edit });
  });

  it.each(['', 'timeoutMs', '=5'])('%j is refused', (text) => {
    expect(() => editOf(text)).toThrow(/^expected path=value; came /);
  });
});
