/** A connection on which anything can be said: bytes as they are, slowly, or nothing. */
import net from 'node:net';

export interface RawConnection {
  readonly socket: net.Socket;
  /** What came so far. */
  text(): string;
  /** Resolves once the other side has closed, with how long that took since the connection was made. */
  closed(withinMs: number): Promise<{ text: string; afterMs: number; isClosed: boolean }>;
}

export function connectRaw(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const madeAt = Date.now();
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: hostname, port: Number(port), noDelay: true });
    const chunks: Buffer[] = [];
    const text = (): string => Buffer.concat(chunks).toString('latin1');
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('error', reject);
    const gone = new Promise<void>((done) => socket.once('close', () => done()));
    socket.once('connect', () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      resolve({
        socket,
        text,
        async closed(withinMs) {
          const limit = new Promise<void>((done) => setTimeout(done, withinMs).unref());
          await Promise.race([gone, limit]);
          const isClosed = socket.destroyed || socket.readableEnded;
          const afterMs = Date.now() - madeAt;
          socket.destroy();
          return { text: text(), afterMs, isClosed };
        },
      });
    });
  });
}

/** Says all of it at once and hears the other side out. */
export async function exchange(url: string, bytes: string | Buffer, withinMs = 20_000) {
  const connection = await connectRaw(url);
  connection.socket.write(bytes);
  return connection.closed(withinMs);
}

/** The status of each answer in what came, in order. */
export const statusesOf = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
