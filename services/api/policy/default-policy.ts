/** What is in force where no document is: whoever has a key may run within the operator's ceilings. */
import { showFaults } from './fault.ts';
import { policyOf } from './load.ts';
import type { Policy } from './policy.ts';

const DEFAULT_DOCUMENT = {
  version: '1',
  name: 'default',
  description: 'No policy is configured: keys, their scopes and the quotas of tenants decide.',
  default: 'deny',
  rules: [
    {
      name: 'exec',
      tools: ['exec'],
      action: 'allow',
      rate_limit: { max: 600, window: 60, per: 'grant', reason: '600 runs a minute per key' },
    },
    // Batches are bounded by what their tenant may have open and running.
    { name: 'batches', tools: ['exec_batch'], action: 'allow' },
    {
      name: 'look-and-cancel',
      tools: ['job_*', 'policy_check', 'sandbox_info'],
      action: 'allow',
    },
  ],
  tests: [
    {
      name: 'a key runs 600 a minute',
      tool: 'exec',
      args: { command: ['true'] },
      repeat: 600,
      expect: 'allow',
    },
    {
      name: 'and not one more',
      tool: 'exec',
      args: { command: ['true'] },
      repeat: 601,
      expect: 'rate_limited',
      rule: 'exec',
    },
  ],
};

export function defaultPolicy(): Policy {
  const loaded = policyOf(DEFAULT_DOCUMENT);
  if ('policy' in loaded) return loaded.policy;
  throw new Error(`The default policy is not usable:\n${showFaults(loaded.faults)}`);
}
