import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyEdit } from '../../../services/api/approvals/edit.ts';
import { AppError } from '../../../shared/errors.ts';

const REQUEST = {
  command: ['make', 'all'],
  timeoutMs: 9000,
  limits: { memoryMb: 512, cpus: 1 },
  env: { A: '1', B: '2' },
  labels: { team: 'x' },
};
const edited = (edit: object, mayEdit: readonly string[]) =>
  applyEdit(REQUEST, edit as Record<string, unknown>, mayEdit);
const refusal = (edit: object, mayEdit: readonly string[]): AppError => {
  try {
    edited(edit, mayEdit);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('it was not refused');
};

describe('an edit', () => {
  it.each([
    [{ timeoutMs: 5 }, ['timeoutMs'], { timeoutMs: 5 }],
    [{ 'limits.memoryMb': 64 }, ['limits.memoryMb'], { limits: { memoryMb: 64, cpus: 1 } }],
    [{ limits: { memoryMb: 64 } }, ['limits.memoryMb'], { limits: { memoryMb: 64, cpus: 1 } }],
    [{ 'limits.memoryMb': 64 }, ['limits'], { limits: { memoryMb: 64, cpus: 1 } }],
    [{ limits: { cpus: 2 } }, ['limits'], { limits: { cpus: 2 } }],
    [{ 'limits.openFiles': 64 }, ['limits'], { limits: { memoryMb: 512, cpus: 1, openFiles: 64 } }],
    [{ 'env.A': null }, ['env.A'], { env: { B: '2' } }],
    [{ env: null }, ['env'], { env: undefined }],
    [{ 'command.1': 'test' }, ['command.1'], { command: ['make', 'test'] }],
    [{ stdin: 'x' }, ['stdin'], { stdin: 'x' }],
  ])('%j where %j may be edited', (edit, mayEdit, expected) => {
    const { request } = edited(edit, mayEdit);
    expect(request).toEqual({ ...REQUEST, ...expected });
    expect(REQUEST.timeoutMs).toBe(9000);
  });

  it.each([
    [
      { image: 'x' },
      ['timeoutMs'],
      '"image" must stay as it is; the rule lets be edited: timeoutMs',
    ],
    [{ timeoutMs: 5, image: 'x' }, ['timeoutMs'], '"image" must stay as it is'],
    [{ limits: { cpus: 2 } }, ['limits.memoryMb'], '"limits.cpus" must stay as it is'],
    [{ limits: 5 }, ['limits.memoryMb'], '"limits" must stay as it is'],
    [{ timeoutMsX: 5 }, ['timeoutMs'], '"timeoutMsX" must stay as it is'],
    [{ timeoutMs: 5 }, [], 'the rule lets nothing be edited'],
    [{ lane: 'bulk' }, ['lane', 'timeoutMs'], '"lane" must stay as it is'],
    [{}, ['timeoutMs'], 'expected a path and its new value'],
    [{ limits: {} }, ['limits.memoryMb'], 'expected a path and its new value'],
    [{ 'env.__proto__.x': 'y' }, ['env'], 'is no path of a request'],
    [{ 'command.7': 'x' }, ['command'], 'there is nothing at "command.7"'],
    [{ 'command.7.x': 'x' }, ['command'], 'there is nothing at "command.7.x"'],
    [{ 'timeoutMs.x': 'x' }, ['timeoutMs'], 'there is nothing at "timeoutMs.x"'],
  ])('%j where %j may be edited is refused', (edit, mayEdit, why) => {
    const error = refusal(edit, mayEdit);
    expect(error.code).toBe('REQUEST_INVALID');
    expect(error.message).toContain(why);
  });

  it('has to make a request of the contract', () => {
    const error = refusal({ timeoutMs: 'soon' }, ['timeoutMs']);
    expect(error).toMatchObject({ code: 'REQUEST_INVALID', field: 'timeoutMs' });
    expect(refusal({ command: null }, ['command']).code).toBe('REQUEST_INVALID');
  });

  it('never changes another field, and fails with nothing but a refusal', () => {
    const name = fc.constantFrom(
      ...['timeoutMs', 'limits', 'memoryMb', 'env', 'A', 'command', '0', '__proto__', ''],
    );
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('.'));
    const value = fc.oneof(
      fc.nat(99),
      fc.constant(null),
      fc.string(),
      fc.dictionary(name, fc.nat(9)),
    );
    fc.assert(
      fc.property(
        fc.dictionary(path, value, { noNullPrototype: true }),
        fc.array(path, { maxLength: 3 }),
        (edit, mayEdit) => {
          try {
            const { request } = edited(edit, mayEdit);
            const roots = new Set(mayEdit.map((one) => one.split('.')[0]));
            for (const [field, was] of Object.entries(REQUEST)) {
              if (!roots.has(field)) expect(request[field as keyof typeof request]).toEqual(was);
            }
          } catch (error) {
            expect(error).toBeInstanceOf(AppError);
          }
          expect(({} as Record<string, unknown>).x).toBeUndefined();
        },
      ),
      { numRuns: 2000 },
    );
  });
});
