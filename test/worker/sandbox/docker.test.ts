import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { openDocker, within } from '../../../services/worker/sandbox/docker.ts';

it('A call whose answer breaks off within its body fails within the limit of the call', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-cut-'));
  const socketPath = path.join(folder, 'engine.sock');
  const server = http.createServer((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '100' });
    response.write('{"Id":"');
    setImmediate(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  try {
    const docker = openDocker({ socketPath });
    await expect(docker.getContainer('x').inspect(within(300))).rejects.toThrow();
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
}, 5_000);
