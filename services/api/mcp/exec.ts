/** The tool `exec`: one job, and its result within the wait. */
import { z } from 'zod';
import { type JobRequest, jobFields, jobRequest } from '../../../shared/contract/request.ts';
import { requestInvalid } from '../http-error.ts';
import { DEFAULT_WAIT_MS, maxOutputChars, waitMs } from './inputs.ts';
import { execOutput, refusedResult, withoutError } from './output-schema.ts';
import type { McpParts } from './parts.ts';
import { isErrorEnd, renderResult } from './render.ts';
import { defineTool, HINTS, type McpTool } from './tool.ts';
import { submitAndWait } from './wait-for-job.ts';

const DESCRIPTION = `Run one command, script or list of steps in a fresh sandbox: a container without network, with limited time, memory, processes, disk and output, removed afterwards. Give exactly one of \`command\` (argv, no shell), \`script\` (run by the image's interpreter: sh in base, Python in python, Node in node) or \`steps\`. Send inputs in \`files\` (laid out in /work) and name files to get back in \`collect\`; nothing is kept between calls.

Answers with the result, or after waitMs with the id of the job for job_get. A non-zero exit code is a normal result. \`outcome\` says how it ended, \`fault\` whose fault it is. sandbox_info lists images and limits.`;

const input = z.strictObject({
  ...jobFields.shape,
  waitMs: waitMs(DEFAULT_WAIT_MS),
  idempotencyKey: z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'expected 1 to 255 printable characters without spaces')
    .optional()
    .describe(
      'The same key and request again is the same job; it also survives a lost connection.',
    ),
  maxOutputChars,
});

export const execTool = (parts: McpParts): McpTool =>
  defineTool({
    name: 'exec',
    title: 'Run a command in a sandbox',
    description: DESCRIPTION,
    hints: HINTS.RUNS,
    scopes: ['exec:run'],
    input,
    output: execOutput,
    isJudgedHere: false,
    refused: refusedResult,
    async run({ waitMs, idempotencyKey, maxOutputChars, ...asked }, call) {
      const request = parseJob(asked);
      const result = await submitAndWait(parts, { request, idempotencyKey, waitMs }, call);
      return {
        text: renderResult(result, maxOutputChars),
        structured: withoutError(result),
        isError: isErrorEnd(result),
      };
    },
  });

/** What the fields must be together. */
export function parseJob(asked: unknown): JobRequest {
  const parsed = jobRequest.safeParse(asked);
  if (!parsed.success) throw requestInvalid(parsed.error, asked);
  return parsed.data;
}
