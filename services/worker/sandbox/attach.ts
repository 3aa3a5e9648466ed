/**
 * A duplex connection to a container's stdin and stdout: a plain HTTP upgrade. Not through the library, whose attach
 * may put its options in front of the first bytes that it sends.
 */
import http from 'node:http';
import type { Socket } from 'node:net';

/** Where the engine listens. */
export type EngineAddress =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number };

export function attach(
  address: EngineAddress,
  containerId: string,
  withinMs: number,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const request = http.request({
      ...address,
      method: 'POST',
      path: `/containers/${containerId}/attach?stream=1&stdin=1&stdout=1&stderr=1`,
      headers: { Connection: 'Upgrade', Upgrade: 'tcp' },
      agent: false,
      signal: AbortSignal.timeout(withinMs),
    });
    request.once('upgrade', (_response, socket: Socket, head) => {
      socket.setNoDelay?.(true);
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.once('response', (response) => {
      response.resume();
      reject(new Error(`The engine answered the attach with ${response.statusCode}, not 101.`));
    });
    request.once('error', reject);
    request.end();
  });
}
