/** Requests as bytes, and what can be wrong with them before anybody reads what they say. */
import type { Random } from './random.ts';

export interface Plain {
  readonly method: string;
  /** Path and query, as they stand in the first line. */
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer | undefined;
}

export interface Shot {
  readonly bytes: Buffer;
  /** Where the bytes end before the request does: the client says that no more will come. */
  readonly isCut: boolean;
}

const HUGE = 9_000;

export function wellFramed({ method, target, headers, body }: Plain): Shot {
  const length = body === undefined ? [] : [`Content-Length: ${body.length}`];
  const lines = [
    `${method} ${target} HTTP/1.1`,
    ...headers.map((one) => one.join(': ')),
    ...length,
  ];
  return { bytes: bytesOf([...lines, 'Connection: close'], body), isCut: false };
}

const bytesOf = (lines: readonly string[], body: Buffer | undefined, end = '\r\n'): Buffer =>
  Buffer.concat([
    Buffer.from(lines.map((line) => line + end).join('') + end, 'latin1'),
    body ?? Buffer.alloc(0),
  ]);

const ODD_METHODS = [
  'HEAD',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'PATCH',
  'PROPFIND',
  'PURGE',
  'QUERY',
  'PRI',
  'get',
  'G',
  'BREW',
  '',
  'POST POST',
  'GET\0',
  'X'.repeat(HUGE),
];

/** Wrong as HTTP. All are sent as cut: some never end. */
export function badlyFramed(plain: Plain, random: Random): Shot {
  const { method, target, headers } = plain;
  const body = plain.body ?? Buffer.from('{}');
  const named = [...headers.map((one) => one.join(': ')), 'Connection: close'];
  const first = `${method} ${target} HTTP/1.1`;
  const sent = (lines: readonly string[], bytes?: Buffer, end?: string): Buffer =>
    bytesOf([first, ...lines, ...named], bytes, end);
  const withLength = (length: string): Buffer => sent([`Content-Length: ${length}`], body);
  const chunked = (text: string): Buffer =>
    sent(['Transfer-Encoding: chunked'], Buffer.from(text, 'latin1'));
  const hex = body.length.toString(16);
  const text = body.toString('latin1');
  const bytes = random.pick<() => Buffer>([
    () => withLength(String(body.length + 1 + random.below(1_000))),
    () => withLength(String(random.below(body.length + 1))),
    () => withLength(random.pick(['-1', '1e3', '0x10', '', ' ', '+5', '9'.repeat(30), '5, 6'])),
    () => sent([`Content-Length: ${body.length}`, 'Content-Length: 0'], body),
    () => sent([`Content-Length: ${body.length}`, 'Transfer-Encoding: chunked'], body),
    () => sent(['Transfer-Encoding: gzip, chunked'], body),
    () => sent(['Transfer-Encoding: identity'], body),
    () => chunked(`${hex}\r\n${text}\r\n0\r\n\r\n`),
    () => chunked(`${hex}\r\n${text.slice(0, random.below(text.length + 1))}`),
    () => chunked(`${hex};${'x'.repeat(random.below(HUGE * 3))}\r\n${text}\r\n0\r\n\r\n`),
    () => chunked(`zz\r\n${text}\r\n0\r\n\r\n`),
    () => chunked(`${'f'.repeat(20)}\r\n${text}`),
    () => chunked(`1\r\n${text}\r\n0\r\n\r\n`),
    () =>
      chunked(`${hex}\r\n${text}\r\n0\r\nX-Late: ${'x'.repeat(random.below(HUGE * 2))}\r\n\r\n`),
    () => sent([], body),
    () => sent([`Content-Length: ${body.length}`], body, '\n'),
    () => withLength(String(body.length)).subarray(0, 1 + random.below(200)),
    () => bytesOf([`${random.pick(ODD_METHODS)} ${target} HTTP/1.1`, ...named], undefined),
    () => bytesOf([`${method} ${target} ${oddVersion(random)}`, ...named], undefined),
    () => bytesOf([`${method} ${target}`], undefined),
    () => Buffer.concat([noise(random), sent([])]),
    () => noise(random),
    () => sent(Array.from({ length: 30 + random.below(3_000) }, (_, at) => `X-${at}: a`)),
    () => sent([random.pick(ODD_LINES)], undefined),
    () => sent([`X-Long: ${'x'.repeat(HUGE)}`]),
    () => sent([`Expect: ${random.pick(['100-continue', 'x', ''])}`, 'Content-Length: 2'], body),
    () => sent(['Connection: Upgrade', `Upgrade: ${random.pick(['websocket', 'h2c', 'x'])}`]),
  ])();
  return { bytes, isCut: true };
}

const oddVersion = ({ pick }: Random): string =>
  pick(['HTTP/1.0', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/9.9', 'HTTP/1.', 'http/1.1', 'HTTPS/1.1', '']);

const ODD_LINES = [
  'no colon',
  ': no name',
  'X y: z',
  'X\0: y',
  'X: a\0b',
  'X: a\rb',
  'X : y',
  ' folded: y',
  'X: a\r\n b',
  'X: \x7f\x80\xff',
  '\xff: y',
  'Host: other',
  'Host:',
  'TE: trailers',
];

const noise = (random: Random): Buffer =>
  Buffer.from(Array.from({ length: 1 + random.below(300) }, () => random.below(256)));
