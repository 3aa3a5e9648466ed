import { describe, expect, it } from 'vitest';
import { type BatchHeader, digestOf, openInput } from '../../../services/cli/batch/input.ts';
import { batchFolder } from './folder.ts';

const folder = batchFolder();

async function uploadOf(text: string, header: BatchHeader) {
  const input = openInput(folder.write('jobs.ndjson', text), header);
  const pieces: Uint8Array[] = [];
  for await (const piece of input.read()) pieces.push(piece);
  return { input, text: Buffer.concat(pieces).toString() };
}

describe('the upload of a file', () => {
  const jobs = '{"command":["true"]}\n\n{"command":["日本"]}';

  it('is the file as it is where no option is given', async () => {
    const { input, text } = await uploadOf(jobs, {});
    expect(text).toBe(jobs);
    expect([input.ownLine(3), input.bytes]).toEqual([3, Buffer.byteLength(jobs)]);
  });

  it('begins with the options in a line of their own, which does not count', async () => {
    const { input, text } = await uploadOf(jobs, { maxParallel: 2, defaults: { image: 'python' } });
    const header = '{"batch":{"maxParallel":2,"defaults":{"image":"python"}}}\n';
    expect(text).toBe(header + jobs);
    expect(input.ownLine(4)).toBe(3);
  });

  it('has one line of options where the file has some too: the command line stands above them', async () => {
    const own = { onInvalid: 'skip', maxParallel: 9, defaults: { image: 'node', timeoutMs: 5 } };
    const { input, text } = await uploadOf(`${JSON.stringify({ batch: own })}\n${jobs}`, {
      maxParallel: 2,
      defaults: { image: 'python' },
    });
    const [first = '', ...rest] = text.split('\n');
    expect(JSON.parse(first)).toEqual({
      batch: { onInvalid: 'skip', maxParallel: 2, defaults: { image: 'python', timeoutMs: 5 } },
    });
    expect(rest.join('\n')).toBe(jobs);
    expect(input.ownLine(3)).toBe(3);
  });

  it.each([
    ['empty', ''],
    ['one line without an end', '{"command":["true"]}'],
    ['a first line that is no JSON', '{"batch":\n{}\n'],
    ['a first line that is a job of its own making', '{"batch":{},"command":["true"]}\n'],
    ['a first line of more than a piece', `{"command":["${'x'.repeat(200_000)}"]}\n{}\n`],
    ['a first line of more than a megabyte', `{"command":["${'x'.repeat(2_000_000)}"]}\n{}\n`],
  ])('is whole after the options when it is %s', async (_name, all) => {
    const { text } = await uploadOf(all, { maxParallel: 2 });
    expect(text).toBe(`{"batch":{"maxParallel":2,"defaults":{}}}\n${all}`);
  });

  it('has a digest of the jobs and of the options', async () => {
    const file = folder.write('jobs.ndjson', jobs);
    const digest = await digestOf(openInput(file, {}));
    expect(await digestOf(openInput(folder.write('copy.ndjson', jobs), {}))).toBe(digest);
    expect(await digestOf(openInput(file, { maxParallel: 2 }))).not.toBe(digest);
    expect(await digestOf(openInput(folder.write('jobs.ndjson', `${jobs} `), {}))).not.toBe(digest);
  });

  it('is refused by name when there is no such file, or it is a folder', () => {
    expect(() => openInput(folder.at('none'), {})).toThrow(/none: ENOENT/);
    expect(() => openInput(folder.at(''), {})).toThrow(/expected a file.*came a folder/);
  });
});
