/**
 * Jobs over one connection that is kept, by Node's own HTTP client and nothing on top: what `fetch` adds to a request is
 * a millisecond of this process, on the cores that the server needs.
 */
import http from 'node:http';
import type { JobRequestInput } from '../shared/contract/request.ts';
import type { JobResult } from '../shared/contract/result.ts';
import type { Client } from './cofferdam.ts';

const WITHIN_MS = 75_000;

export interface KeptConnection {
  /** Submits a job and waits for its result. */
  run(request: JobRequestInput): Promise<JobResult>;
  close(): void;
}

export function keepConnection({ url, key }: Pick<Client, 'url' | 'key'>): KeptConnection {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const headers = {
    Authorization: `Bearer ${key}`,
    'Content-Type': 'application/json',
    Prefer: 'wait=60',
  };
  return {
    run: (request) =>
      new Promise((resolve, reject) => {
        const asking = http.request(
          `${url}/v1/jobs`,
          { method: 'POST', agent, headers, timeout: WITHIN_MS },
          async (response) => {
            try {
              const text = (await response.setEncoding('utf8').toArray()).join('');
              if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${text}`);
              resolve(JSON.parse(text) as JobResult);
            } catch (error) {
              reject(error);
            }
          },
        );
        asking.once('timeout', () => asking.destroy(new Error(`no answer in ${WITHIN_MS} ms`)));
        asking.once('error', reject);
        asking.end(JSON.stringify(request));
      }),
    close: () => agent.destroy(),
  };
}
