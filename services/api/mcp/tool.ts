/** The shape of a tool: what a client is told of it, and what it does with arguments that were parsed. */
import { z } from 'zod';
import type { Scope, Tool } from '../../../shared/contract/policy.ts';
import type { AppError } from '../../../shared/errors.ts';
import type { Caller } from '../auth.ts';
import { requestInvalid } from '../http-error.ts';

/** Says to the client that waits how far it is; may be called often, tells at most so much. */
export type Notify = (message: string) => void;

export interface ToolCall {
  readonly caller: Caller;
  /** Aborted when the client cancels or goes. */
  readonly signal: AbortSignal;
  /** Undefined when the client did not ask to hear of progress. */
  readonly notify: Notify | undefined;
}

export interface ToolAnswer {
  /** Short, for a model. */
  readonly text: string;
  /** The whole, for a program: as the tool's output schema says. */
  readonly structured: Record<string, unknown>;
  readonly isError: boolean;
}

interface Hints {
  readonly readOnlyHint: boolean;
  readonly destructiveHint: boolean;
  readonly idempotentHint: boolean;
  readonly openWorldHint: boolean;
}

export interface McpTool {
  readonly name: Tool;
  readonly title: string;
  readonly description: string;
  readonly hints: Hints;
  /** One of them is needed; none: any key will do. */
  readonly scopes: readonly Scope[];
  readonly inputSchema: JsonSchema;
  readonly outputSchema: JsonSchema;
  /** Whether `decide` has to be asked first; what runs a job is judged on its way in. */
  readonly isJudgedHere: boolean;
  call(args: Record<string, unknown>, call: ToolCall): Promise<ToolAnswer>;
  /** The structured part of a refusal, where the output schema has a form for it. */
  refused?(error: AppError): Record<string, unknown>;
}

export type JsonSchema = { readonly type: 'object'; readonly [name: string]: unknown };

const READ_ONLY: Hints = {
  readOnlyHint: true,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: false,
};

/** Sandboxes have no network and are thrown away: nothing outside can be changed by what runs in one. */
const RUNS: Hints = {
  readOnlyHint: false,
  destructiveHint: false,
  idempotentHint: false,
  openWorldHint: false,
};

const ENDS: Hints = {
  readOnlyHint: false,
  destructiveHint: true,
  idempotentHint: true,
  openWorldHint: false,
};

export const HINTS = { READ_ONLY, RUNS, ENDS } as const;

interface Definition<Input extends z.ZodType>
  extends Omit<McpTool, 'call' | 'inputSchema' | 'outputSchema'> {
  readonly input: Input;
  /** What clients are shown, where it says more than what is parsed. */
  readonly shown?: z.ZodType;
  readonly output: z.ZodType;
  run(args: z.output<Input>, call: ToolCall): Promise<ToolAnswer>;
}

/** Arguments are parsed here and not by the library, so that every refusal reads as over HTTP. */
export function defineTool<Input extends z.ZodType>(is: Definition<Input>): McpTool {
  const { input, shown = input, output, run, ...rest } = is;
  return {
    ...rest,
    inputSchema: z.toJSONSchema(shown, { io: 'input' }) as JsonSchema,
    outputSchema: z.toJSONSchema(output, { io: 'output' }) as JsonSchema,
    async call(args, call) {
      const parsed = input.safeParse(args);
      if (!parsed.success) throw requestInvalid(parsed.error, args);
      return run(parsed.data, call);
    },
  };
}
