/**
 * One POST to one address: a connection of its own, TLS verified for the name, no redirect followed, no proxy of the
 * environment. The status decides; of the answer's body at most MAX_ANSWER_BYTES are read, and thrown away.
 */
import http, { type RequestOptions } from 'node:http';
import https from 'node:https';
import ipaddr from 'ipaddr.js';
import { withoutBrackets } from './address.ts';

export const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_HEAD_BYTES = 16 * 1024;

export interface Post {
  readonly url: URL;
  /** Checked; the name in the URL is not asked for again. */
  readonly address: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal: AbortSignal;
}

/** The status of the answer, once it is over or cut; rejects when none came. */
export function post({ url, address, headers, body, signal }: Post): Promise<number> {
  const { request, Agent } = url.protocol === 'https:' ? https : http;
  const agent = new Agent({ keepAlive: false });
  const options = {
    ...optionsFor(url, address),
    agent,
    signal,
    headers: { ...headers, 'Content-Length': Buffer.byteLength(body) },
  };
  return new Promise<number>((resolve, reject) => {
    let status: number | undefined;
    const sending = request(options, (answer) => {
      status = answer.statusCode ?? 0;
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) answer.destroy();
      });
      // However its body ends: what there was to say, the status had said before.
      answer.on('error', () => {});
      answer.once('close', () => resolve(status ?? 0));
    });
    sending.on('error', (error) => (status === undefined ? reject(error) : resolve(status)));
    sending.end(body);
  }).finally(() => agent.destroy());
}

function optionsFor(url: URL, address: string): RequestOptions & https.RequestOptions {
  const host = withoutBrackets(url.hostname);
  const family = address.includes(':') ? 6 : 4;
  return {
    method: 'POST',
    protocol: url.protocol,
    host,
    ...(url.port === '' ? {} : { port: Number(url.port) }),
    path: `${url.pathname}${url.search}`,
    family,
    maxHeaderSize: MAX_HEAD_BYTES,
    // Whatever the environment says of certificates.
    rejectUnauthorized: true,
    ...(ipaddr.isValid(host) ? {} : { servername: host }),
    lookup: (_name, options, answer) => {
      if (options.all) answer(null, [{ address, family }]);
      else answer(null, address, family);
    },
  };
}
