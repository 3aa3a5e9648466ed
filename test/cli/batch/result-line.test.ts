import { describe, expect, it } from 'vitest';
import { parseResultLine } from '../../../services/cli/batch/result-line.ts';

const line = (fields: object): string =>
  JSON.stringify({
    index: 3,
    key: null,
    cursor: '7',
    outcome: { kind: 'exited', exitCode: 2 },
    ...fields,
  });

describe('a line of results', () => {
  it('says which job it is of, where to go on, and how the job ended', () => {
    expect(parseResultLine(line({ stdout: 'more' }), 'here')).toEqual({
      index: 3,
      cursor: '7',
      countedAs: 'exited_nonzero',
    });
  });

  it('may be of a job whose result is kept no longer', () => {
    expect(parseResultLine(line({ outcome: null }), 'here').countedAs).toBe('no_result');
  });

  it.each([
    ['no JSON', '{"index":', /^r\.ndjson:4: expected a result of a batch \(a JSON object\); came/],
    ['an end of no kind', line({ outcome: { kind: 'x' } }), /with index, cursor and outcome/],
    ['no cursor', line({ cursor: undefined }), /with index, cursor and outcome/],
    ['something else', '17', /with index, cursor and outcome\); came 17/],
  ])('is refused with its place when it is %s', (_name, text, message) => {
    expect(() => parseResultLine(text, 'r.ndjson:4')).toThrow(message);
  });

  it('is not repeated whole in what is said of it', () => {
    const error = (() => {
      try {
        return parseResultLine('x'.repeat(10_000), 'here');
      } catch (thrown) {
        return String(thrown);
      }
    })();
    expect(String(error).length).toBeLessThan(250);
  });
});
