/** Whatever was thrown → RFC 9457 problem+json. The only place that sets a status for an error. */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { Problem } from '../../shared/contract/problem.ts';
import { AppError } from '../../shared/errors.ts';
import { isStoreFailure } from '../../shared/queue/connection.ts';

const SHOWN_LENGTH = 80;

/** A failed parse, as the field at fault, what was expected there and what came. */
export function requestInvalid(error: z.ZodError, input: unknown): AppError {
  const issue = error.issues[0];
  const path = issue?.path ?? [];
  const field = path.join('.');
  const came = path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined,
    input,
  );
  const shown =
    typeof came === 'object' ? '' : `; came ${shorten(JSON.stringify(came) ?? 'nothing')}`;
  const detail = `${field === '' ? '' : `${field}: `}${issue?.message ?? 'not valid'}${shown}`;
  return new AppError('REQUEST_INVALID', { detail, ...(field === '' ? {} : { field }) });
}

const shorten = (text: string): string =>
  text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}… (${text.length} characters)` : text;

/** Fastify's own refusals, by their code. */
const FRAMEWORK_CODES: Readonly<Record<string, ConstructorParameters<typeof AppError>[0]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'BODY_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'MEDIA_TYPE_UNSUPPORTED',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'BODY_NOT_JSON',
  FST_ERR_CTP_INVALID_JSON_BODY: 'BODY_NOT_JSON',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'REQUEST_INVALID',
  FST_ERR_BAD_URL: 'NOT_FOUND',
};

export function appErrorOf(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (isStoreFailure(error))
    return new AppError('STORE_UNAVAILABLE', { cause: error, retryAfterSeconds: 1 });
  const { code, statusCode, message } = error as Partial<FastifyError>;
  const known = code === undefined ? undefined : FRAMEWORK_CODES[code];
  if (known !== undefined) return new AppError(known, { cause: error });
  if (error instanceof SyntaxError && statusCode === 400) {
    return new AppError('BODY_NOT_JSON', { cause: error, detail: message ?? 'not JSON' });
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new AppError('REQUEST_INVALID', { cause: error, detail: message ?? 'not valid' });
  }
  return new AppError('INTERNAL', { cause: error });
}

export function problemOf(error: AppError, requestId: string): Problem {
  return {
    type: `https://cofferdam.dev/errors/${error.code}`,
    title: error.row.message,
    status: error.row.status,
    code: error.code,
    // A defect's own message may hold what is nobody's business.
    detail: error.code === 'INTERNAL' ? error.row.message : error.message,
    ...(error.field === undefined ? {} : { field: error.field }),
    ...(error.line === undefined ? {} : { line: error.line }),
    ...(error.batch === undefined ? {} : { batch: error.batch }),
    ...(error.policy === undefined ? {} : { policy: error.policy }),
    retryable: error.row.retryable,
    remedy: error.row.remedy,
    requestId,
  };
}

export function sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const error = appErrorOf(thrown);
  if (error.row.status >= 500) request.log.error({ err: thrown }, 'request failed');
  if (error.code === 'UNAUTHENTICATED') void reply.header('WWW-Authenticate', 'Bearer');
  if (error.retryAfterSeconds !== undefined) {
    void reply.header('Retry-After', error.retryAfterSeconds);
  }
  void reply
    .status(error.row.status)
    .type('application/problem+json; charset=utf-8')
    .send(JSON.stringify(problemOf(error, request.id)));
}
