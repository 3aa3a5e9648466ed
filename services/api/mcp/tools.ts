/** The eight tools. There is none that decides approvals: whoever asks must not be able to answer. */
import type { Tool } from '../../../shared/contract/policy.ts';
import type { Caller } from '../auth.ts';
import { execTool } from './exec.ts';
import { execBatchTool } from './exec-batch.ts';
import { jobCancelTool } from './job-cancel.ts';
import { jobGetTool } from './job-get.ts';
import { jobListTool } from './job-list.ts';
import { jobOutputTool } from './job-output.ts';
import type { McpParts } from './parts.ts';
import { policyCheckTool } from './policy-check.ts';
import { sandboxInfoTool } from './sandbox-info.ts';
import type { McpTool } from './tool.ts';

export type ToolTable = ReadonlyMap<Tool, McpTool>;

export const createTools = (parts: McpParts): ToolTable =>
  new Map(
    [
      execTool(parts),
      execBatchTool(parts),
      jobGetTool(parts),
      jobOutputTool(parts),
      jobListTool(parts),
      jobCancelTool(parts),
      policyCheckTool(parts),
      sandboxInfoTool(parts),
    ].map((tool) => [tool.name, tool] as const),
  );

export const hasScope = ({ scopes }: McpTool, caller: Caller): boolean =>
  scopes.length === 0 || scopes.some((one) => caller.scopes.has(one));
