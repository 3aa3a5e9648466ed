import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Line, readLines } from '../../services/api/ndjson.ts';
import { AppError } from '../../shared/errors.ts';

const MIB = 1024 * 1024;
const PLENTY = MIB;

const bytes = (text: string): Buffer => Buffer.from(text);
const streamOf = (pieces: Iterable<Buffer>): Readable =>
  Readable.from(pieces, { objectMode: false });

async function linesOf(pieces: Iterable<Buffer>, maxLineBytes = PLENTY): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const line of readLines(streamOf(pieces), maxLineBytes)) lines.push(line);
  return lines;
}

const texts = async (text: string): Promise<string[]> =>
  (await linesOf([bytes(text)])).map((line) => line.text);

const refusalOf = (pieces: Iterable<Buffer>, maxLineBytes?: number): Promise<AppError> =>
  linesOf(pieces, maxLineBytes).then(
    () => expect.unreachable('expected a refusal'),
    (error: unknown) => error as AppError,
  );

describe('the lines of a body', () => {
  it('are the same wherever the edges of its pieces fall', async () => {
    const text = '{"a":"é𝄞"}\r\n\n  \n{"b":1}\n\r\n{"c":"→"}';
    const whole = await linesOf([bytes(text)]);
    expect(whole).toEqual([
      { number: 1, text: '{"a":"é𝄞"}' },
      { number: 4, text: '{"b":1}' },
      { number: 6, text: '{"c":"→"}' },
    ]);
    const all = bytes(text);
    for (let edge = 0; edge <= all.length; edge++) {
      expect(await linesOf([all.subarray(0, edge), all.subarray(edge)])).toEqual(whole);
    }
    expect(await linesOf([...all].map((byte) => Buffer.of(byte)))).toEqual(whole);
  });

  it('are those that were written, whatever they hold and however they are cut', async () => {
    const text = fc.string({ unit: 'binary' }).filter((one) => !/[\n]/.test(one));
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { maxLength: 8 }),
        fc.array(fc.nat(40), { maxLength: 10 }),
        async (written, cuts) => {
          const all = bytes(written.join('\n'));
          const edges = [0, ...cuts.filter((cut) => cut < all.length).toSorted((a, b) => a - b)];
          const pieces = edges.map((edge, at) => all.subarray(edge, edges[at + 1]));
          const expected = written
            .map((one, at) => ({ number: at + 1, text: one.trim() }))
            .filter((line) => line.text !== '');
          expect(await linesOf(pieces.filter((piece) => piece.length > 0))).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('are none in an empty body and in one of blank lines', async () => {
    expect(await linesOf([])).toEqual([]);
    expect(await texts('\n\r\n  \t\n\n')).toEqual([]);
  });

  it('need no newline after the last of them', async () => {
    expect(await texts('1\n2')).toEqual(['1', '2']);
    expect(await texts('1\n2\n')).toEqual(['1', '2']);
  });

  it('may follow a byte order mark, as some editors write it', async () => {
    expect(await texts('\ufeff{"a":1}\n2')).toEqual(['{"a":1}', '2']);
  });
});

describe('a line that is too long', () => {
  const line = (length: number): Buffer => Buffer.alloc(length, 'x');
  const newline = Buffer.of(0x0a);

  it('is one of a byte more than the bound, in one piece or in several', async () => {
    expect(await linesOf([line(100), newline], 100)).toHaveLength(1);
    for (const pieces of [
      [line(101), newline],
      [line(100), line(1)],
      [Buffer.concat([line(101), newline])],
      [bytes('1\n\n'), line(60), Buffer.concat([line(41), newline])],
    ]) {
      const before = pieces.length === 3 && pieces[0]?.length === 3 ? 2 : 0;
      expect(await refusalOf(pieces, 100)).toMatchObject({
        code: 'LINE_TOO_LONG',
        line: before + 1,
        message: `line ${before + 1}: expected at most 100 bytes; came more`,
      });
    }
  });

  it('ends a stream without a newline early: nobody holds a hundred MiB of it', async () => {
    let sent = 0;
    const piece = Buffer.alloc(64 * 1024, 'x');
    function* flood() {
      for (; sent < 100 * MIB; sent += piece.length) yield piece;
    }
    expect(await refusalOf(flood(), MIB)).toMatchObject({ code: 'LINE_TOO_LONG', line: 1 });
    expect(sent).toBeLessThan(2 * MIB);
  });

  it('comes after the lines before it: each was given out', async () => {
    const got: string[] = [];
    const reading = async (): Promise<void> => {
      const body = streamOf([bytes('1\n2\n'), line(200)]);
      for await (const { text } of readLines(body, 100)) got.push(text);
    };
    await expect(reading()).rejects.toMatchObject({ line: 3 });
    expect(got).toEqual(['1', '2']);
  });
});

describe('a line that is not UTF-8', () => {
  it.each([
    ['a lone byte', Buffer.of(0xff)],
    ['a character that is cut off', bytes('é').subarray(0, 1)],
    ['a surrogate', Buffer.of(0xed, 0xa0, 0x80)],
    ['too long a form', Buffer.of(0xc0, 0xaf)],
  ])('is refused by its number: %s', async (_, broken) => {
    const body = Buffer.concat([bytes('1\n\n"'), broken, bytes('"\n4')]);
    const refusal = await refusalOf([body]);
    expect(refusal).toMatchObject({ code: 'BODY_NOT_JSON', line: 3 });
    expect(refusal.message).toBe('line 3: expected UTF-8, came other bytes');
  });
});

describe('a client', () => {
  afterEach(() => {
    vi.useRealTimers();
  });
  const fakeTime = () => vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] });
  const MINUTE_MS = 60_000;

  it('that falls silent is given up', async () => {
    fakeTime();
    const body = new Readable({ read: () => {} });
    const lines = readLines(body, PLENTY);
    body.push('1\n');
    expect((await lines.next()).value).toEqual({ number: 1, text: '1' });
    const next = lines.next().catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(body.destroyed).toBe(false);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(await next).toMatchObject({ code: 'REQUEST_TIMEOUT' });
    expect(vi.getTimerCount()).toBe(0);
  });

  it('that sends a little now and then is heard to the end', async () => {
    fakeTime();
    const body = new Readable({ read: () => {} });
    const reading = (async () => {
      const got: string[] = [];
      for await (const { text } of readLines(body, PLENTY)) got.push(text);
      return got;
    })();
    for (const piece of ['1', '2\n', '3', '\n']) {
      body.push(piece);
      await vi.advanceTimersByTimeAsync(25_000);
    }
    body.push(null);
    await vi.advanceTimersByTimeAsync(1);
    expect(await reading).toEqual(['12', '3']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([
    ['has more to send', (body: Readable) => void body.push('3\n')],
    ['has sent all', (body: Readable) => void body.push(null)],
    ['sends nothing meanwhile', () => {}],
  ])('is not held for silent while nobody asks for its lines: it %s', async (_, then) => {
    fakeTime();
    const body = new Readable({ read: () => {} });
    const lines = readLines(body, PLENTY);
    body.push('1\n2\n');
    await lines.next();
    then(body);
    await vi.advanceTimersByTimeAsync(5 * MINUTE_MS);
    expect(body.destroyed).toBe(false);
    expect((await lines.next()).value).toEqual({ number: 2, text: '2' });
    await lines.return(undefined);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each(['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE'])(
    'that leaves in the middle is refused, and is no failure of the server: %s',
    async (code) => {
      const body = new Readable({ read: () => {} });
      const lines = readLines(body, PLENTY);
      body.push('1\n2');
      await lines.next();
      body.destroy(Object.assign(new Error('aborted'), { code }));
      await expect(lines.next()).rejects.toMatchObject({
        code: 'REQUEST_TIMEOUT',
        message: 'the connection ended before the body did',
      });
    },
  );

  it('that breaks off ends the lines with its error', async () => {
    const body = new Readable({ read: () => {} });
    const lines = readLines(body, PLENTY);
    body.push('1\n');
    await lines.next();
    body.destroy(new Error('reset'));
    await expect(lines.next()).rejects.toThrow('reset');
  });

  it('that is refused amid its upload still gets the answer', async () => {
    const server = createServer((incoming, outgoing) => {
      const refuse = (error: unknown): void => {
        outgoing.writeHead(error instanceof AppError ? error.row.status : 500).end();
      };
      (async () => {
        for await (const _ of readLines(incoming, 10));
      })().catch(refuse);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const status = await new Promise((resolve, reject) => {
      const sending = request({ host: '127.0.0.1', port, method: 'POST' }, (answer) => {
        resolve(answer.statusCode);
        sending.destroy();
      });
      sending.on('error', reject);
      sending.write('1\n2\n');
      sending.write('x'.repeat(11));
    });
    expect(status).toBe(413);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});
