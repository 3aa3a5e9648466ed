import { appendFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openResultFile } from '../../../services/cli/batch/output.ts';
import { batchFolder } from './folder.ts';

const folder = batchFolder();
const line = (index: number, exitCode = 0): string =>
  `${JSON.stringify({ index, key: null, cursor: `c${index}`, outcome: { kind: 'exited', exitCode } })}\n`;

describe('a file of results', () => {
  it('begins empty, and grows by what is written', async () => {
    const output = await openResultFile(folder.at('r'));
    expect([output.cursor, output.tally.exited_zero]).toEqual([undefined, 0]);
    await output.write(line(0));
    await output.write(line(1));
    output.close();
    expect(folder.read('r')).toBe(line(0) + line(1));
  });

  it('is continued after its last whole line: counted, with its cursor, what was torn cut away', async () => {
    const file = folder.write('r', line(4) + line(2, 1) + line(3).slice(0, 20));
    const output = await openResultFile(file);
    expect(output.cursor).toBe('c2');
    expect(output.tally).toMatchObject({ exited_zero: 1, exited_nonzero: 1 });
    await output.write(line(3));
    output.close();
    expect(folder.read('r')).toBe(line(4) + line(2, 1) + line(3));
  });

  it('may be torn in its first line, or within a character', async () => {
    const file = folder.at('r');
    appendFileSync(file, Buffer.from('{"日').subarray(0, 3));
    const output = await openResultFile(file);
    expect(output.cursor).toBeUndefined();
    output.close();
    expect(folder.read('r')).toBe('');
  });

  it('is left alone, and its line named, when it holds anything else', async () => {
    const text = `${line(0)}name,score\n${line(1)}`;
    const file = folder.write('r', text);
    await expect(openResultFile(file)).rejects.toThrow(/r:2: expected a result.*came name,score/);
    expect(folder.read('r')).toBe(text);
  });

  it('is refused where it cannot be', async () => {
    await expect(openResultFile(folder.at('no/r'))).rejects.toThrow(/--output: ENOENT/);
    await expect(openResultFile(folder.at(''))).rejects.toThrow(/--output: EISDIR/);
  });
});
