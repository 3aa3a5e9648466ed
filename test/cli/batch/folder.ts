/** A folder of its own for each test of a file, and what the command line said on standard error. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, type MockInstance, vi } from 'vitest';

export function batchFolder() {
  let folder = '';
  let stderr: MockInstance;
  let said = '';
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-batch-'));
    said = '';
    stderr = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      said += String(text);
      return true;
    });
  });
  afterEach(() => {
    stderr.mockRestore();
    rmSync(folder, { recursive: true, force: true });
  });
  const at = (name: string): string => path.join(folder, name);
  return {
    at,
    said: () => said,
    write(name: string, text: string): string {
      writeFileSync(at(name), text);
      return at(name);
    },
    read: (name: string): string => readFileSync(at(name), 'utf8'),
  };
}

/** Jobs that exit with these codes, one a line. */
export const jobLines = (codes: readonly number[]): string =>
  codes.map((exitCode) => `${JSON.stringify({ kind: 'exited', exitCode })}\n`).join('');

/** The `index` of each line of a result file, in order. */
export const indexesIn = (text: string): number[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { index: number }).index);
