/** Requests that two readers would cut differently: whoever stands before this server must not be misled by it. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../../helpers/server.ts';
import { exchange, statusesOf } from './raw-connection.ts';

const server = inject('server');
const authorization = `Authorization: Bearer ${server.key}\r\n`;
const HEAD = `POST /v1/jobs HTTP/1.1\r\nHost: x\r\n${authorization}Content-Type: application/json\r\n`;
/** Would be a second request if the first were thought to be over before it. */
const HIDDEN = `GET /v1/info HTTP/1.1\r\nHost: x\r\n${authorization}\r\n`;
const WITHIN_MS = 5_000;

/** The rest of a head, and a body: how long the body is, is said twice or wrongly. */
const AMBIGUOUS: readonly (readonly [string, string])[] = [
  ['a length beside chunks', `Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['chunks beside a length', `Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`],
  ['two lengths that differ', `Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}`],
  ['two lengths that are the same', `Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`],
  ['a list of lengths', `Content-Length: 2, 5\r\n\r\n{}`],
  ['a length with a sign', `Content-Length: +2\r\n\r\n{}`],
  ['a negative length', `Content-Length: -2\r\n\r\n{}`],
  ['a length in hexadecimal', `Content-Length: 0x2\r\n\r\n{}`],
  ['a length beyond 64 bits', `Content-Length: 18446744073709551618\r\n\r\n{}`],
  ['a folded field', `X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\n{}`],
  ['a folded transfer encoding', `Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`],
  ['a space before the colon', `Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`],
  ['an unknown transfer encoding', `Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
  ['chunked in the middle', `Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
  ['two transfer encodings', `Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n`],
  ['a chunk with a sign', `Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n`],
  ['a chunk in another notation', `Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n`],
  ['a chunk longer than it says', `Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n`],
  ['a bare CR within a field', `X-Bare: a\rb\r\nContent-Length: 2\r\n\r\n{}`],
  ['a NUL within a field', `X-Nul: a\0b\r\nContent-Length: 2\r\n\r\n{}`],
  ['a field without a colon', `Content-Length 2\r\nContent-Length: 2\r\n\r\n{}`],
];

describe('H17 a request with', () => {
  test.each(AMBIGUOUS)('%s is refused and its connection closed', async (_, rest) => {
    const { text, isClosed } = await exchange(server.url, HEAD + rest + HIDDEN, WITHIN_MS);
    expect(statusesOf(text)).toEqual([400]);
    expect(text).toContain('application/problem+json');
    expect(text).not.toContain('"version"');
    expect(isClosed).toBe(true);
  });

  test('lines that end in LF alone is refused', async () => {
    const bytes = `GET /v1/info HTTP/1.1\nHost: x\n${authorization.trim()}\n\n`;
    const { text } = await exchange(server.url, bytes, WITHIN_MS);
    expect(statusesOf(text).filter((status) => status < 400)).toEqual([]);
  });

  test('no host, or two, is refused', async () => {
    for (const hosts of ['', 'Host: x\r\nHost: y\r\n']) {
      const bytes = `GET /healthz HTTP/1.1\r\n${hosts}\r\n`;
      const { text } = await exchange(server.url, bytes, WITHIN_MS);
      expect(statusesOf(text), JSON.stringify(hosts)).toEqual([400]);
    }
  });

  test('CR and LF in what is echoed has no line of its own in the answer', async () => {
    const planted = '%0d%0aX-Planted:%20yes';
    for (const path of [`/v1/jobs/${planted}`, `/${planted}`, `/v1/jobs?label=${planted}`]) {
      const bytes = `GET ${path} HTTP/1.1\r\nHost: x\r\n${authorization}Connection: close\r\n\r\n`;
      const { text } = await exchange(server.url, bytes, WITHIN_MS);
      expect(statusesOf(text)[0]).toBeGreaterThanOrEqual(200);
      expect(text.split('\r\n\r\n')[0]).not.toMatch(/^x-planted/im);
    }
  });
});

describe('H20 a method', () => {
  test.each(['TRACE', 'CONNECT', 'OPTIONS', 'TRACK', 'PROPFIND'])(
    '%s does nothing',
    async (method) => {
      const target = method === 'CONNECT' ? '127.0.0.1:6379' : '/v1/jobs';
      const bytes = `${method} ${target} HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n${authorization}X-Secret: abc\r\nConnection: close\r\n\r\n`;
      const { text } = await exchange(server.url, bytes, WITHIN_MS);
      expect(statusesOf(text).filter((status) => status < 400)).toEqual([]);
      expect(text).not.toContain('abc');
      expect(text).not.toMatch(/access-control-allow/i);
    },
  );

  test('that a header overrides is the one of the first line', async () => {
    const api = callerOf(server);
    const { id } = await api.run({ command: ['true'] });
    const headers = { 'X-HTTP-Method-Override': 'DELETE', 'X-Method-Override': 'DELETE' };
    const response = await api.send(`/v1/jobs/${id}?_method=DELETE`, { headers });
    expect([200, 400]).toContain(response.status);
    expect((await api.get(id)).outcome).toEqual({ kind: 'exited', exitCode: 0 });
  });
});
