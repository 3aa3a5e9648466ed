import { describe, expect, it } from 'vitest';
import { appErrorOf, problemOf, requestInvalid } from '../../services/api/http-error.ts';
import { jobRequest } from '../../shared/contract/request.ts';
import { ERRORS } from '../../shared/error-table.ts';
import { AppError, type ErrorCode } from '../../shared/errors.ts';

function invalid(input: unknown): AppError {
  const { error } = jobRequest.safeParse(input);
  if (error === undefined) throw new Error('the request is valid');
  return requestInvalid(error, input);
}
const withCode = (code: string, statusCode?: number, message = 'said by the framework') =>
  Object.assign(new Error(message), { code, statusCode });

describe('a request that does not match the contract', () => {
  it('names the field, what was expected there and what came', () => {
    const error = invalid({ command: ['true'], timeoutMs: 'soon' });
    expect(error).toMatchObject({ code: 'REQUEST_INVALID', field: 'timeoutMs' });
    expect(error.message).toBe(
      'timeoutMs: Invalid input: expected number, received string; came "soon"',
    );
  });

  it('names a field in depth by its path', () => {
    const error = invalid({ steps: [{ name: 'a b', command: ['x'] }] });
    expect(error.field).toBe('steps.0.name');
    expect(error.message).toMatch(/^steps\.0\.name: expected 1 to 64 .*; came "a b"$/);
  });

  it('has no field where the whole is at fault', () => {
    const error = invalid({});
    expect(error.field).toBeUndefined();
    expect(error.message).toMatch(/^expected exactly one of/);
    expect(invalid(null).field).toBeUndefined();
    expect(invalid('text').message).toContain('came "text"');
  });

  it('shows no more of what came than a person reads', () => {
    const error = invalid({ command: ['x'], image: 'y'.repeat(100_000) });
    expect(error.message.length).toBeLessThan(300);
    expect(error.message).toContain('(100002 characters)');
  });

  it('does not repeat an object that came', () => {
    expect(invalid({ command: { a: 'secret' } }).message).not.toContain('secret');
  });
});

describe('whatever was thrown', () => {
  it.each<[string, unknown, ErrorCode]>([
    ['one of ours', new AppError('QUEUE_FULL'), 'QUEUE_FULL'],
    ['Redis away', new Error('Connection is closed.'), 'STORE_UNAVAILABLE'],
    ['Redis silent', new Error('Command timed out'), 'STORE_UNAVAILABLE'],
    [
      'Redis full',
      new Error("OOM command not allowed when used memory > 'maxmemory'."),
      'STORE_UNAVAILABLE',
    ],
    ['a large body', withCode('FST_ERR_CTP_BODY_TOO_LARGE', 413), 'BODY_TOO_LARGE'],
    ['another type', withCode('FST_ERR_CTP_INVALID_MEDIA_TYPE', 415), 'MEDIA_TYPE_UNSUPPORTED'],
    ['no body', withCode('FST_ERR_CTP_EMPTY_JSON_BODY', 400), 'BODY_NOT_JSON'],
    [
      'bad JSON',
      Object.assign(new SyntaxError('Unexpected'), { statusCode: 400 }),
      'BODY_NOT_JSON',
    ],
    ['a bad URL', withCode('FST_ERR_BAD_URL', 400), 'NOT_FOUND'],
    ['a refusal of the framework', withCode('FST_ERR_NEW', 400), 'REQUEST_INVALID'],
    ['a failure of the framework', withCode('FST_ERR_NEW', 500), 'INTERNAL'],
    ['a defect', new TypeError('x is not a function'), 'INTERNAL'],
    ['a text', 'oops', 'INTERNAL'],
  ])('is a row of the table: %s', (_, thrown, code) => {
    expect(appErrorOf(thrown).code).toBe(code);
  });

  it('keeps what was thrown as its cause', () => {
    const thrown = new TypeError('x');
    expect(appErrorOf(thrown).cause).toBe(thrown);
  });
});

describe('a problem', () => {
  it('holds everything that a caller needs, by RFC 9457', () => {
    const error = new AppError('LIMIT_ABOVE_CEILING', { field: 'limits.cpus', detail: 'd' });
    expect(problemOf(error, 'r1')).toEqual({
      type: 'https://cofferdam.dev/errors/LIMIT_ABOVE_CEILING',
      title: ERRORS.LIMIT_ABOVE_CEILING.message,
      status: 422,
      code: 'LIMIT_ABOVE_CEILING',
      detail: 'd',
      field: 'limits.cpus',
      retryable: false,
      remedy: ERRORS.LIMIT_ABOVE_CEILING.remedy,
      requestId: 'r1',
    });
  });

  it('hides the message of a defect, and of a store that failed', () => {
    for (const thrown of [
      new Error('password=hunter2 at /srv/secret.ts'),
      new AppError('INTERNAL', { detail: 'hunter2' }),
      new Error('connect ECONNREFUSED redis://user:hunter2@10.0.0.7'),
    ]) {
      expect(JSON.stringify(problemOf(appErrorOf(thrown), 'r'))).not.toMatch(
        /hunter2|secret|10\.0/,
      );
    }
  });
});
