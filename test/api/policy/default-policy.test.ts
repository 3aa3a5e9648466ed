import { describe, expect, it } from 'vitest';
import { defaultPolicy } from '../../../services/api/policy/default-policy.ts';
import { runDocumentTests } from '../../../services/api/policy/document-tests.ts';
import { TOOLS } from '../../../shared/contract/policy.ts';
import { ask, otherCall, resolveWith, runCall } from './asking.ts';

describe('without a document', () => {
  it('a key may use every tool', () => {
    for (const tool of TOOLS) {
      const runs = tool === 'exec' || tool === 'exec_batch';
      const call = runs ? runCall({ command: ['true'] }, { tool }) : otherCall(tool);
      expect(ask(defaultPolicy(), call).kind, tool).toBe('goes_on');
    }
  });

  it('a key runs 600 a minute, and as many in batches as its tenant may have', () => {
    expect(runDocumentTests(defaultPolicy(), resolveWith).map(({ failure }) => failure)).toEqual([
      null,
      null,
    ]);
    const batch = ask(defaultPolicy(), runCall({ command: ['true'] }, { tool: 'exec_batch' }));
    expect(batch).toMatchObject({ reservations: [] });
  });
});
