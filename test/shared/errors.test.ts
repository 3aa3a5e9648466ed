import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ERRORS, type ErrorRow } from '../../shared/error-table.ts';
import { AppError, type ErrorCode } from '../../shared/errors.ts';

const rows = Object.entries(ERRORS) as [ErrorCode, ErrorRow][];

describe('the table of errors', () => {
  it.each(rows)('%s has a status, a message and what to do', (code, row) => {
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/);
    expect(row.status).toBeGreaterThanOrEqual(400);
    expect(row.status).toBeLessThan(600);
    expect(row.message).toMatch(/^[A-Z].*\.$/);
    expect(row.remedy).toMatch(/^[A-Z].*\.$/);
  });

  it('says of no two errors the same', () => {
    expect(new Set(rows.map(([, { message }]) => message)).size).toBe(rows.length);
  });

  it('calls retryable what the platform failed at, and nothing that the caller must mend', () => {
    for (const [code, { status, retryable }] of rows) {
      if (status >= 500 || status === 408 || status === 429)
        expect([code, retryable]).toEqual([code, true]);
      else expect([code, retryable]).toEqual([code, false]);
    }
  });

  it('has no row that nothing uses', () => {
    const root = path.resolve(import.meta.dirname, '../../services');
    const text = readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(path.join(root, file), 'utf8'))
      .join('\n');
    expect(rows.map(([code]) => code).filter((code) => !text.includes(`'${code}'`))).toEqual([]);
  });
});

describe('an error of ours', () => {
  it('carries its row, its field and its cause', () => {
    const cause = new Error('x');
    const error = new AppError('QUEUE_FULL', { cause, field: 'f', retryAfterSeconds: 3 });
    expect(error).toMatchObject({ code: 'QUEUE_FULL', field: 'f', retryAfterSeconds: 3, cause });
    expect(error.row).toBe(ERRORS.QUEUE_FULL);
    expect(error.message).toBe(ERRORS.QUEUE_FULL.message);
  });

  it('says what was expected and what came, where that is known', () => {
    expect(new AppError('REQUEST_INVALID', { detail: 'expected a; came b' }).message).toBe(
      'expected a; came b',
    );
  });
});
