/** Every end of a job, through HTTP. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';

const api = callerOf(inject('server'));

describe('exited', () => {
  test('a program that exits with 0 is a result without a fault', async () => {
    const result = await api.run({ command: ['true'] });
    expect(result).toMatchObject({
      state: 'done',
      outcome: { kind: 'exited', exitCode: 0 },
      fault: 'none',
      ran: 'yes',
      exitCode: 0,
    });
  });
});
