/** Requests that `fetch` would mend or refuse to send: paths as they are written, bodies in pieces, none at all. */
import http from 'node:http';

const WITHIN_MS = 20_000;

export interface RawAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  json(): Record<string, unknown>;
}

/** `body` undefined sends the head alone and leaves the request open. */
export function sendRaw(
  server: { url: string },
  request: {
    path: string;
    method?: string;
    headers?: Record<string, string>;
    body?: readonly (string | Buffer)[];
  },
): Promise<RawAnswer> {
  const { hostname, port } = new URL(server.url);
  const { path, method = 'GET', headers = {}, body } = request;
  return new Promise((resolve, reject) => {
    const sent = http.request({ hostname, port, path, method, headers, timeout: WITHIN_MS });
    sent.once('timeout', () => sent.destroy(new Error(`no answer within ${WITHIN_MS} ms`)));
    let answered = false;
    sent.on('error', (error) => {
      // A server that has answered may close before it has read everything.
      if (!answered) reject(error);
    });
    sent.once('response', (response) => {
      answered = true;
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('close', () => {
        sent.destroy();
        const text = Buffer.concat(chunks).toString();
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: () => JSON.parse(text),
        });
      });
    });
    for (const part of body ?? []) sent.write(part);
    if (body === undefined) sent.flushHeaders();
    else sent.end();
  });
}
