/** A request with exactly these headers, also those that fetch does not let through, such as Host. */
import http from 'node:http';

const WITHIN_MS = 20_000;

export function rawRequest(
  url: string,
  init: { method: string; headers: Record<string, string>; body?: string | Buffer },
): Promise<{ status: number; headers: http.IncomingHttpHeaders; body: string }> {
  return new Promise((resolve, reject) => {
    const { method, headers, body } = init;
    const signal = AbortSignal.timeout(WITHIN_MS);
    const request = http.request(url, { method, headers, signal }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('error', reject);
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
      );
    });
    request.once('error', reject);
    request.end(body);
  });
}
