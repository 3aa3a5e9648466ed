/**
 * A TCP proxy that misbehaves when told to. What it does in each mode:
 *   open   bytes pass, each piece `delayMs` late (0 unless `slow` was called)
 *   held   nothing passes and nobody is told: a network that drops packets. What was sent arrives when it opens again,
 *          as TCP sends it again
 *   cut    connections are reset, new ones are refused: a network that says no
 *   mute   what clients send arrives, what servers answer is lost; opening again resets those connections, for a
 *          stream with a hole in it is none
 */
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

type Mode = 'open' | 'held' | 'cut' | 'mute';

export interface TcpProxy {
  readonly port: number;
  /** Connections that clients have open. */
  connections(): number;
  cut(): void;
  hold(): void;
  /** Each piece passes so late, in both directions. */
  slow(delayMs: number): void;
  dropReplies(): void;
  /** Everything passes again, at once. */
  heal(): void;
  /** Cuts and heals by turns until the promise's function is called, which heals. */
  flap(times: { upMs: number; downMs: number }): () => Promise<void>;
  stop(): Promise<void>;
}

export interface ProxyTarget {
  readonly host?: string;
  readonly port: number;
}

export async function startTcpProxy({ host = '127.0.0.1', port }: ProxyTarget): Promise<TcpProxy> {
  let mode: Mode = 'open';
  let delayMs = 0;
  const pairs = new Set<Pair>();
  const server = net.createServer({ allowHalfOpen: true }, (client) => {
    if (mode === 'cut') return void client.resetAndDestroy();
    const pair = new Pair(client, net.connect({ host, port, allowHalfOpen: true }), {
      mode: () => mode,
      delayMs: () => delayMs,
    });
    pairs.add(pair);
    void pair.closed.then(() => pairs.delete(pair));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const enter = (next: Mode): void => {
    const wasMute = mode === 'mute';
    mode = next;
    for (const pair of pairs) {
      if (next === 'cut' || (wasMute && next !== 'mute')) pair.reset();
      else pair.setHeld(next === 'held');
    }
  };
  const proxy: TcpProxy = {
    port: (server.address() as net.AddressInfo).port,
    connections: () => pairs.size,
    cut: () => enter('cut'),
    hold: () => enter('held'),
    slow(ms) {
      delayMs = ms;
      enter('open');
    },
    dropReplies: () => enter('mute'),
    heal() {
      delayMs = 0;
      enter('open');
    },
    flap({ upMs, downMs }) {
      const over = new AbortController();
      const flapping = (async () => {
        while (!over.signal.aborted) {
          proxy.cut();
          await sleep(downMs, undefined, { signal: over.signal }).catch(() => {});
          proxy.heal();
          await sleep(upMs, undefined, { signal: over.signal }).catch(() => {});
        }
      })();
      return async () => {
        over.abort();
        await flapping;
      };
    },
    async stop() {
      for (const pair of pairs) pair.reset();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

interface Weather {
  mode(): Mode;
  delayMs(): number;
}

/** One client's connection and the one behind it. */
class Pair {
  readonly closed: Promise<void>;
  readonly #sockets: readonly net.Socket[];

  constructor(client: net.Socket, target: net.Socket, weather: Weather) {
    this.#sockets = [client, target];
    this.closed = new Promise((resolve) => {
      for (const socket of this.#sockets) {
        socket.setNoDelay(true);
        socket.on('error', () => this.reset());
        socket.once('close', () => {
          this.reset();
          resolve();
        });
      }
    });
    this.#pass(client, target, weather, () => true);
    this.#pass(target, client, weather, () => weather.mode() !== 'mute');
    if (weather.mode() === 'held') this.setHeld(true);
  }

  /** Held sockets are not read: the kernels on both sides keep what was sent, as they do without a network. */
  setHeld(isHeld: boolean): void {
    for (const socket of this.#sockets) {
      if (isHeld) socket.pause();
      else socket.resume();
    }
  }

  reset(): void {
    for (const socket of this.#sockets) if (!socket.destroyed) socket.resetAndDestroy();
  }

  #pass(from: net.Socket, to: net.Socket, weather: Weather, reaches: () => boolean): void {
    let last = Promise.resolve();
    const after = (act: () => void): void => {
      const dueMs = Date.now() + weather.delayMs();
      last = last.then(async () => {
        const restMs = dueMs - Date.now();
        if (restMs > 0) await sleep(restMs);
        if (!to.destroyed) act();
      });
    };
    from.on('data', (bytes: Buffer) => after(() => reaches() && to.write(bytes)));
    from.once('end', () => after(() => to.end()));
  }
}
