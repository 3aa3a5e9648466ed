import { AjvJsonSchemaValidator as NewerValidator } from '@modelcontextprotocol/client/validators/ajv';
import { AjvJsonSchemaValidator as OlderValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  execOutput,
  refusedResult,
  withoutError,
} from '../../../services/api/mcp/output-schema.ts';
import { ERRORS } from '../../../shared/error-table.ts';
import { AppError, type ErrorCode } from '../../../shared/errors.ts';
import { everyOutcome } from '../../shared/contract/outcomes.ts';
import { resultWith } from './results.ts';

const schema = z.toJSONSchema(execOutput, { io: 'output' }) as never;

/** The validators that the two official clients check structuredContent with. */
const VALIDATORS = [
  ['newer', new NewerValidator().getValidator(schema)],
  ['older', new OlderValidator().getValidator(schema)],
] as const;

describe.each(VALIDATORS)('the one schema, in the eyes of the %s client', (_name, validate) => {
  const accepts = (value: unknown) => {
    // As it goes over the wire.
    const checked = validate(JSON.parse(JSON.stringify(value)));
    expect(checked.errorMessage).toBeUndefined();
    expect(checked.valid).toBe(true);
  };

  it.each(everyOutcome)('holds the end %j', (outcome) => {
    accepts(withoutError(resultWith(outcome)));
  });

  it('holds a handle', () => {
    for (const state of ['queued', 'running', 'awaiting_approval'] as const) {
      accepts(withoutError(resultWith(null, { state })));
    }
  });

  it.each(Object.keys(ERRORS) as ErrorCode[])('holds the refusal %s', (code) => {
    const policy = {
      decision: 'deny',
      rule: null,
      reason: 'because',
      retryAfterMs: null,
      approvalId: null,
      revision: 'r',
    } as const;
    accepts(refusedResult(new AppError(code)));
    accepts(refusedResult(new AppError(code, { policy, field: 'x', retryAfterSeconds: 2 })));
  });

  it('refuses what is neither', () => {
    expect(validate({ id: 'x' }).valid).toBe(false);
    const strange = { ...withoutError(resultWith({ kind: 'expired' })), surprise: 1 };
    expect(validate(strange).valid).toBe(false);
  });
});

describe('a refusal', () => {
  it('is the fault of the policy only where the policy spoke', () => {
    expect(refusedResult(new AppError('REQUEST_INVALID'))).toMatchObject({
      fault: 'caller',
      ran: 'no',
      outcome: { kind: 'denied', rule: 'REQUEST_INVALID' },
    });
    expect(refusedResult(new AppError('QUEUE_FULL'))).toMatchObject({
      fault: 'platform',
      retryable: true,
    });
  });
});
