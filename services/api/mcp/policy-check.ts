/** The tool `policy_check`: what the policy would say of a job; runs and spends nothing. */
import { type PolicyCheck, policyCheck } from '../../../shared/contract/policy-check.ts';
import { jobFields } from '../../../shared/contract/request.ts';
import { parseJob } from './exec.ts';
import type { McpParts } from './parts.ts';
import { defineTool, HINTS, type McpTool } from './tool.ts';

export const policyCheckTool = ({ check }: McpParts): McpTool =>
  defineTool({
    name: 'policy_check',
    title: 'Ask the policy about a job',
    description:
      'Takes the arguments of `exec` and answers what the policy would decide (allow, deny, rate_limited, require_approval), by which rule, and what is left of its limits. Runs nothing and spends nothing.',
    hints: HINTS.READ_ONLY,
    scopes: ['exec:run', 'exec:batch'],
    input: jobFields,
    output: policyCheck,
    isJudgedHere: true,
    async run(asked, { caller }) {
      const args = parseJob(asked);
      const checked = await check({ tool: 'exec', caller, args, nowMs: Date.now() });
      return { text: textOf(checked), structured: checked, isError: false };
    },
  });

function textOf({ decision, rule, reason, retryAfterMs }: PolicyCheck): string {
  const by = rule === null ? 'the default' : `the rule ${JSON.stringify(rule)}`;
  const why = reason === '' ? '' : `: ${reason}`;
  const when = retryAfterMs === null ? '' : ` Retry in ${Math.ceil(retryAfterMs / 1000)} s.`;
  return `${decision} by ${by}${why}.${when}`.replace(/\.\.+/g, '.');
}
