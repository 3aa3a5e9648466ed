/** What a program writes, byte for byte. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';

const api = callerOf(inject('server'));
const sh = (text: string) => ({ command: ['sh', '-c', text] });

describe('bytes', () => {
  test('O05 every byte that there is comes back as it was written', async () => {
    const bytes = Buffer.from(Array.from({ length: 1_024 }, (_, at) => at % 256));
    const result = await api.run({
      files: [{ path: 'a', content: bytes.toString('base64'), encoding: 'base64' }],
      ...sh('cat a; cat a >&2'),
    });
    expect(result).toMatchObject({
      stdoutEncoding: 'base64',
      stderrEncoding: 'base64',
      stdoutBytes: 1_024,
    });
    expect(Buffer.from(result.stdout, 'base64')).toEqual(bytes);
    expect(Buffer.from(result.stderr, 'base64')).toEqual(bytes);
  });

  test.each([
    ['a lone continuation byte', [0x80]],
    ['a character without its end', [0x61, 0xe2, 0x82]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a character past the last', [0xf4, 0x90, 0x80, 0x80]],
    ['Latin-1 text', [0x6e, 0x61, 0xef, 0x76, 0x65]],
  ])('%s is no text, and comes back in base64', async (_name, bytes) => {
    const result = await api.run({
      files: [{ path: 'a', content: Buffer.from(bytes).toString('base64'), encoding: 'base64' }],
      command: ['cat', 'a'],
    });
    expect(result.stdoutEncoding).toBe('base64');
    expect([...Buffer.from(result.stdout, 'base64')]).toEqual(bytes);
  });

  test.each([
    ['nothing', ''],
    ['no newline at the end', 'abc'],
    ['only newlines', '\n\n\n'],
    ['carriage returns', 'a\r\nb\r'],
    ['NUL and control characters', 'a\0b\u0001\u001b[31m\u007f'],
    ['a byte order mark', '\ufeffabc'],
    ['characters of four bytes', '😀😀'],
    ['what JSON must escape', '"\\/\u2028\u2029</script>'],
  ])('O15 %s comes back as text', async (_name, text) => {
    const result = await api.run({ command: ['cat'], stdin: text });
    expect(result).toMatchObject({
      stdout: text,
      stdoutEncoding: 'utf8',
      stdoutBytes: Buffer.byteLength(text),
      stderr: '',
      isTruncated: false,
    });
  });

  test('the two streams are kept apart, each in its order', async () => {
    const result = await api.run(sh('for i in $(seq 500); do echo "o$i"; echo "e$i" >&2; done'));
    const lines = (letter: string) =>
      Array.from({ length: 500 }, (_, at) => `${letter}${at + 1}\n`).join('');
    expect(result.stdout).toBe(lines('o'));
    expect(result.stderr).toBe(lines('e'));
  });
});

describe('whoever holds the pipes', () => {
  test('a program that closes its streams runs on to its own end', async () => {
    const result = await api.run(sh('echo out; exec >&- 2>&-; sleep 0.4; exit 7'));
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 7 }, stdout: 'out\n' });
    expect(result.usage.wallMs).toBeGreaterThanOrEqual(350);
  });

  test('an orphan that holds stdout does not delay the result', async () => {
    const result = await api.run({ ...sh('sleep 45 & echo done'), timeoutMs: 50_000 });
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 0 }, stdout: 'done\n' });
    expect(result.usage.wallMs).toBeLessThan(15_000);
  });

  test('what a background process wrote before the end is kept, and nothing after', async () => {
    const result = await api.run(
      sh('(while :; do echo tick; sleep 0.05; done) & sleep 0.5; echo end'),
    );
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(result.stdout).toMatch(/^(tick\n)+end\n(tick\n)?$/);
  });

  test('a megabyte that is still in the pipes at the end is not lost', async () => {
    const result = await api.run(sh('head -c 1048576 /dev/zero | tr "\\0" x'));
    expect(result).toMatchObject({ stdoutBytes: 1_048_576, isTruncated: false });
    expect(result.stdout).toBe('x'.repeat(1_048_576));
  });
});

describe('parseJson', () => {
  test.each([
    ['an object', '{"a":[1,2.5,null,"é"],"b":{"c":true}}\n'],
    ['a number', ' 42 '],
    ['null', 'null'],
    ['a text', '"text"'],
  ])('%s is parsed', async (_name, text) => {
    const result = await api.run({ command: ['cat'], stdin: text, parseJson: true });
    expect(result).toHaveProperty('json', JSON.parse(text));
    expect(result).not.toHaveProperty('parseJsonError');
    expect(result.stdout).toBe(text);
  });

  test.each([
    ['text that is not JSON', 'Traceback…'],
    ['nothing', ''],
    ['two values', '{}\n{}\n'],
  ])('%s is an error beside the output, not of the job', async (_name, text) => {
    const result = await api.run({ command: ['cat'], stdin: text, parseJson: true });
    expect(result).not.toHaveProperty('json');
    expect(result.parseJsonError).toEqual(expect.any(String));
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 0 }, stdout: text });
  });

  test('output that was cut is not parsed, even where what is left would be JSON', async () => {
    const result = await api.run({
      command: ['cat'],
      stdin: '11111111',
      parseJson: true,
      limits: { stdoutBytes: 4 },
    });
    expect(result).not.toHaveProperty('json');
    expect(result.parseJsonError).toContain('truncated');
  });

  test('bytes that are no text are not parsed', async () => {
    const result = await api.run({ ...sh('printf \'"\\377"\''), parseJson: true });
    expect(result).not.toHaveProperty('json');
    expect(result.parseJsonError).toContain('UTF-8');
  });

  test('without it nothing is parsed', async () => {
    const result = await api.run({ command: ['echo', '{}'] });
    expect(result).not.toHaveProperty('json');
    expect(result).not.toHaveProperty('parseJsonError');
  });
});
