/** What is kept of output past its cap: which bytes, and where they were cut. */
import { describe, expect, inject, test } from 'vitest';
import type { JobRequest } from '../../shared/contract/request.ts';
import { callerOf } from '../helpers/server.ts';

const api = callerOf(inject('server'));

/** Prints exactly the text. */
const printing = (stdin: string, stdoutBytes: number, truncate?: JobRequest['truncate']) =>
  api.run({ command: ['cat'], stdin, limits: { stdoutBytes }, ...(truncate ? { truncate } : {}) });

const ascii = (length: number): string =>
  Array.from({ length }, (_, at) => String.fromCharCode(33 + (at % 90))).join('');

describe('at the cap', () => {
  test.each([0, 1, 99, 100])('O07 %i bytes under a cap of 100 are all there', async (length) => {
    const result = await printing(ascii(length), 100);
    expect(result).toMatchObject({
      stdout: ascii(length),
      stdoutBytes: length,
      stdoutCutAt: null,
      isTruncated: false,
    });
  });

  test('O07 one byte more than the cap is one byte less in the middle', async () => {
    const text = ascii(101);
    const result = await printing(text, 100);
    expect(result).toMatchObject({
      outcome: { kind: 'exited', exitCode: 0 },
      stdout: text.slice(0, 50) + text.slice(51),
      stdoutBytes: 101,
      stdoutCutAt: 50,
      isTruncated: true,
    });
  });

  test('a cap of one byte keeps one byte', async () => {
    const result = await printing('abc', 1);
    expect(result).toMatchObject({ stdout: 'a', stdoutBytes: 3, stdoutCutAt: 1 });
  });
});

describe('past the cap', () => {
  const text = ascii(300_000);

  test('both ends are kept when nothing else is asked, the first the longer by an odd byte', async () => {
    const result = await printing(text, 1_001);
    expect(result.stdout).toBe(text.slice(0, 501) + text.slice(-500));
    expect(result).toMatchObject({ stdoutBytes: 300_000, stdoutCutAt: 501, isTruncated: true });
  });

  test('head keeps the first bytes', async () => {
    const result = await printing(text, 1_001, 'head');
    expect(result.stdout).toBe(text.slice(0, 1_001));
    expect(result.stdoutCutAt).toBe(1_001);
  });

  test('tail keeps the last bytes', async () => {
    const result = await printing(text, 1_001, 'tail');
    expect(result.stdout).toBe(text.slice(-1_001));
    expect(result.stdoutCutAt).toBe(0);
  });

  test('a cap larger than a pipe and a frame cuts as exactly', async () => {
    const result = await printing(text, 200_001);
    expect(result.stdout).toBe(text.slice(0, 100_001) + text.slice(-100_000));
  });

  test('stderr has a cap of its own', async () => {
    const result = await api.run({
      command: ['sh', '-c', 'cat >&2; echo short'],
      stdin: text,
      limits: { stderrBytes: 10 },
    });
    expect(result).toMatchObject({
      stdout: 'short\n',
      stdoutCutAt: null,
      stderr: text.slice(0, 5) + text.slice(-5),
      stderrBytes: 300_000,
      stderrCutAt: 5,
      isTruncated: true,
    });
  });

  test('a timeout after a flood keeps both ends', async () => {
    const result = await api.run({
      command: ['sh', '-c', 'cat; printf END; sleep 60'],
      stdin: text,
      limits: { stdoutBytes: 20 },
      timeoutMs: 1_500,
    });
    expect(result.outcome).toEqual({ kind: 'timed_out', limit: 'wall' });
    expect(result.stdout).toBe(`${text.slice(0, 10)}${text.slice(-7)}END`);
  });
});

describe('characters at the cut', () => {
  /** What stays of whole characters when a cut goes through one. */
  const kept = (result: { stdout: string; stdoutEncoding: string }): string => {
    expect(result.stdoutEncoding).toBe('utf8');
    expect(result.stdout).not.toContain('\ufffd');
    return result.stdout;
  };

  test.each([
    ['é', 2],
    ['€', 3],
    ['😀', 4],
  ])('%s is never split, whatever the cap', async (character, bytes) => {
    const text = character.repeat(50);
    for (const cap of [20, 21, 22, 23]) {
      for (const truncate of ['head', 'tail', 'both'] as const) {
        const result = await printing(text, cap, truncate);
        const headCap =
          truncate === 'head' ? cap : truncate === 'tail' ? 0 : cap - Math.floor(cap / 2);
        const head = Math.floor(headCap / bytes);
        const tail = Math.floor((cap - headCap) / bytes);
        expect(kept(result)).toBe(character.repeat(head + tail));
        expect(result.stdoutCutAt).toBe(head * bytes);
        expect(result.stdoutBytes).toBe(50 * bytes);
      }
    }
  });

  test('bytes that are no text stay bytes when they are cut', async () => {
    const result = await api.run({
      command: ['sh', '-c', "head -c 1000 /dev/zero | tr '\\0' '\\377'"],
      limits: { stdoutBytes: 10 },
    });
    expect(result).toMatchObject({ stdoutEncoding: 'base64', stdoutCutAt: 5, stdoutBytes: 1_000 });
    expect(Buffer.from(result.stdout, 'base64')).toEqual(Buffer.alloc(10, 0xff));
  });
});

test('endless output ends the job with output_limit, both ends kept', async () => {
  const result = await api.run({
    command: ['sh', '-c', 'echo first; yes'],
    limits: { stdoutBytes: 100 },
    timeoutMs: 60_000,
  });
  expect(result).toMatchObject({
    outcome: { kind: 'output_limit' },
    fault: 'program',
    retryable: false,
    ran: 'yes',
    exitCode: null,
    stdoutCutAt: 50,
    isTruncated: true,
  });
  expect(result.stdout.startsWith('first\ny\ny\n')).toBe(true);
  expect(result.stdout.slice(50)).toMatch(/^[y\n]{50}$/);
  expect(result.stdoutBytes).toBeGreaterThan(256 * 1024 * 1024);
});
