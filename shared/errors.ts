/** A refusal or failure as it is thrown: a row of the table, and what is known of this one. */
import type { PolicyVerdict } from './contract/policy.ts';
import { ERRORS, type ErrorRow } from './error-table.ts';

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorContext {
  /** What was expected and what came, for a person. */
  readonly detail?: string;
  /** Dotted path of the field at fault. */
  readonly field?: string;
  /** Counted from 1. */
  readonly line?: number;
  readonly batch?: string;
  readonly retryAfterSeconds?: number;
  /** What the policy said, where it was the policy. */
  readonly policy?: PolicyVerdict;
  readonly cause?: unknown;
}

/** A refusal or failure with a row in the table. Everything else that is thrown is a defect, shown as INTERNAL. */
export class AppError extends Error {
  readonly #context: ErrorContext;
  readonly code: ErrorCode;
  readonly row: ErrorRow;
  readonly field: string | undefined;
  readonly line: number | undefined;
  readonly batch: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly policy: PolicyVerdict | undefined;

  constructor(code: ErrorCode, context: ErrorContext = {}) {
    super(context.detail ?? ERRORS[code].message, { cause: context.cause });
    this.#context = context;
    this.name = 'AppError';
    this.code = code;
    this.row = ERRORS[code];
    this.field = context.field;
    this.line = context.line;
    this.batch = context.batch;
    this.retryAfterSeconds = context.retryAfterSeconds;
    this.policy = context.policy;
  }

  /** The same error, with more known about it. */
  with(more: ErrorContext): AppError {
    return new AppError(this.code, { ...this.#context, detail: this.message, ...more });
  }
}
