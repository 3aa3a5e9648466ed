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
  RUNTIME_UNAVAILABLE: {
    status: 422,
    retryable: false,
    message: 'No worker of this server offers the runtime.',
    remedy: 'Use one of the runtimes that /v1/info lists, or leave it out.',
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
  TOO_MANY_OPEN_REQUESTS: {
    status: 429,
    retryable: true,
    message: 'You have as many requests open as you may.',
    remedy: 'Close what you no longer need, or try again after the seconds in Retry-After.',
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
  FORBIDDEN: {
    status: 403,
    retryable: false,
    message: 'The key lacks the scope that this needs.',
    remedy: 'Use a key with the named scope; an operator makes one with `cofferdam keys create`.',
  },
  ORIGIN_REFUSED: {
    status: 403,
    retryable: false,
    message:
      'The request comes by a host name or from an origin that this server does not answer to.',
    remedy:
      'Call the server by an address that it listens on, or have its operator list the name in COFFERDAM_ALLOWED_HOSTS or COFFERDAM_ALLOWED_ORIGINS.',
  },
  POLICY_DENIED: {
    status: 403,
    retryable: false,
    message: 'The policy of this server refuses this.',
    remedy: 'Change what `policy.reason` names; the same request is refused again.',
  },
  LIMIT_EXCEEDED: {
    status: 429,
    retryable: true,
    message: 'A limit of the policy is used up.',
    remedy: 'Try again after the seconds in Retry-After.',
  },
  POLICY_INVALID: {
    status: 422,
    retryable: false,
    message: 'The policy document is not usable; the one before stays in force.',
    remedy: 'Mend what is named; `cofferdam policy validate FILE` says the same without a server.',
  },
  POLICY_CHANGED: {
    status: 412,
    retryable: false,
    message:
      'What the request was made for has changed since: the policy, or what is to be approved.',
    remedy: 'Read it again and send the new ETag as If-Match.',
  },
  APPROVAL_DECIDED: {
    status: 409,
    retryable: false,
    message: 'The approval was decided before, or has expired.',
    remedy: 'Look at the approval; a new request asks for a new one.',
  },
  APPROVAL_NOT_YOURS: {
    status: 403,
    retryable: false,
    message: 'This key may not decide this approval.',
    remedy: 'Somebody else has to: never the key that asked, and only whom the rule names.',
  },
  TENANT_UNKNOWN: {
    status: 422,
    retryable: false,
    message: 'There is no tenant by that name.',
    remedy: 'Make it first: `cofferdam tenants set NAME`, or PUT /v1/tenants/NAME.',
  },
  TENANT_FIXED: {
    status: 409,
    retryable: false,
    message: 'The tenant stands in the file of tenants, or is the server’s own.',
    remedy: 'Change it in the file that COFFERDAM_TENANTS names, and start the server again.',
  },
  CALLBACK_REFUSED: {
    status: 422,
    retryable: false,
    message: 'The callback names a target that this server does not send to.',
    remedy: 'Use an https address on the public internet, or ask the operator to allow it.',
  },
  NOT_FOUND: {
    status: 404,
    retryable: false,
    message: 'There is nothing here by that name.',
    remedy:
      'Check the id, and that the key is of its tenant; results are kept for as long as `retainMs` said.',
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
