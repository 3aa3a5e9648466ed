/**
 * The vocabulary of refusal and failure, one row each: what the caller sees as `code`, the HTTP status, whether the
 * same request may succeed later, and what to do about it. Codes are never reused. `docs/errors.md` holds the same
 * rows; a test compares both.
 */

export interface ErrorRow {
  readonly status: number;
  readonly retryable: boolean;
  readonly message: string;
  readonly remedy: string;
}

export const ERRORS = {
  REQUEST_INVALID: {
    status: 400,
    retryable: false,
    message: 'The request does not match the contract.',
    remedy: 'Mend the named field; /openapi.json holds the contract.',
  },
  BODY_NOT_JSON: {
    status: 400,
    retryable: false,
    message: 'The body is not valid JSON.',
    remedy: 'Send one JSON object in UTF-8.',
  },
  BODY_TOO_LARGE: {
    status: 413,
    retryable: false,
    message: 'The body is larger than this server accepts.',
    remedy: 'Send less; /v1/info names the largest body.',
  },
  MEDIA_TYPE_UNSUPPORTED: {
    status: 415,
    retryable: false,
    message: 'The body has a content type that this route does not read.',
    remedy: 'Send a content type that /openapi.json names for the route.',
  },
  LIMIT_ABOVE_CEILING: {
    status: 422,
    retryable: false,
    message: 'A limit is above what this server allows.',
    remedy: 'Ask for no more than the named ceiling; /v1/info lists all of them.',
  },
  LIMIT_BELOW_FLOOR: {
    status: 422,
    retryable: false,
    message: 'A limit is below what a sandbox can be made with.',
    remedy: 'Ask for the named least or more, or leave the limit out.',
  },
  IMAGE_UNKNOWN: {
    status: 422,
    retryable: false,
    message: 'The image is not in the catalogue of this server.',
    remedy: 'Use one of the images that /v1/info lists.',
  },
  SCRIPT_UNSUPPORTED: {
    status: 422,
    retryable: false,
    message: 'The image has no interpreter for `script`.',
    remedy: 'Use `command`, or an image with an interpreter.',
  },
  IDEMPOTENCY_KEY_REUSED: {
    status: 422,
    retryable: false,
    message: 'The Idempotency-Key was used before with another request.',
    remedy: 'Use a new key for a new request.',
  },
  BATCH_CLOSED: {
    status: 409,
    retryable: false,
    message: 'The batch takes no more jobs: its upload ended, or it was cancelled.',
    remedy: 'Send further jobs as a new batch, with another Idempotency-Key.',
  },
  JOB_KEY_REUSED: {
    status: 422,
    retryable: false,
    message: 'The key of a job was used before in this batch, for another job.',
    remedy: 'Give each job of a batch a key of its own.',
  },
  LINE_TOO_LONG: {
    status: 413,
    retryable: false,
    message: 'A line of the stream is longer than this server accepts.',
    remedy: 'Send less in one line; put large files as blobs. /v1/info names the largest body.',
  },
  BLOB_UNKNOWN: {
    status: 422,
    retryable: false,
    message: 'A file names a blob that is not here.',
    remedy: 'Put the blob, then send the request again.',
  },
  BLOB_DIGEST_MISMATCH: {
    status: 422,
    retryable: false,
    message: 'The bytes do not have the digest that they were sent under.',
    remedy: 'Send the bytes under their own SHA-256.',
  },
  BLOB_QUOTA_EXCEEDED: {
    status: 429,
    retryable: true,
    message: 'Your blobs would take more room than they may.',
    remedy: 'Wait until unused blobs expire, or ask the operator for more.',
  },
  TOO_MANY_OPEN_JOBS: {
    status: 429,
    retryable: true,
    message: 'You have as many jobs waiting or running as you may.',
    remedy: 'Try again after the seconds in Retry-After.',
  },
  OVERLOADED: {
    status: 503,
    retryable: true,
    message: 'The server has more work than it can take on.',
    remedy: 'Try again after the seconds in Retry-After.',
  },
  UNAUTHENTICATED: {
    status: 401,
    retryable: false,
    message: 'The request carries no valid key.',
    remedy: 'Send `Authorization: Bearer <key>`.',
  },
  NOT_FOUND: {
    status: 404,
    retryable: false,
    message: 'There is nothing here by that name.',
    remedy: 'Check the id; results are kept for as long as `retainMs` said.',
  },
  REQUEST_TIMEOUT: {
    status: 408,
    retryable: true,
    message: 'The request did not arrive whole in time.',
    remedy: 'Send it again.',
  },
  QUEUE_FULL: {
    status: 503,
    retryable: true,
    message: 'The queue is full.',
    remedy: 'Try again after the seconds in Retry-After.',
  },
  STORE_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: 'Redis does not answer, so nothing can be accepted or read.',
    remedy: 'Try again with the same Idempotency-Key; the job may have been accepted.',
  },
  SHUTTING_DOWN: {
    status: 503,
    retryable: true,
    message: 'The server is stopping.',
    remedy: 'Try again; another process may answer at once.',
  },
  INTERNAL: {
    status: 500,
    retryable: true,
    message: 'The server failed; this is not the fault of the request.',
    remedy: 'Try again with the same Idempotency-Key, and report the requestId.',
  },
} as const satisfies Record<string, ErrorRow>;

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
  }

  /** The same error, with more known about it. */
  with(more: ErrorContext): AppError {
    return new AppError(this.code, { ...this.#context, detail: this.message, ...more });
  }
}
