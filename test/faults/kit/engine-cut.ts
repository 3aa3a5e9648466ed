/** The machine's engine behind a socket of a test's own, which the test can make go away, for its workers alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const ENGINE_SOCKET = '/var/run/docker.sock';

export interface EngineCut {
  /** For COFFERDAM_ENGINE. */
  readonly address: string;
  /** Every connection ends, and new ones end at once. */
  down(): void;
  up(): void;
  /** Of the connections that ended at once, since `forget`. */
  tally(): { refused: number; mostInASecond: number };
  forget(): void;
  stop(): Promise<void>;
}

export async function startEngineCut(): Promise<EngineCut> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-engine-cut-'));
  const socketPath = path.join(folder, 'engine.sock');
  const open = new Set<net.Socket>();
  let refusedAtMs: number[] = [];
  let isDown = false;
  const server = net.createServer({ allowHalfOpen: true }, (client) => {
    client.on('error', () => {});
    if (isDown) {
      refusedAtMs.push(Date.now());
      return void client.destroy();
    }
    const engine = net.connect({ path: ENGINE_SOCKET, allowHalfOpen: true });
    engine.on('error', () => client.destroy());
    for (const [one, other] of [
      [client, engine],
      [engine, client],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.once('close', () => {
        open.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const endAll = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    address: `unix://${socketPath}`,
    down() {
      isDown = true;
      endAll();
    },
    up() {
      isDown = false;
    },
    tally() {
      const counts = new Map<number, number>();
      for (const atMs of refusedAtMs) {
        const second = Math.floor(atMs / 1_000);
        counts.set(second, (counts.get(second) ?? 0) + 1);
      }
      return { refused: refusedAtMs.length, mostInASecond: Math.max(0, ...counts.values()) };
    },
    forget() {
      refusedAtMs = [];
    },
    async stop() {
      endAll();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
