/** One JSON object a line on stderr, with what must never be logged taken out wherever it turns up. */
import type { EventEmitter } from 'node:events';
import { destination, type Logger, pino, symbols } from 'pino';

export type Log = Logger;

const NEVER_LOGGED = [
  'req.headers.authorization',
  'authorization',
  'key',
  'devKey',
  'stdin',
  'env',
  'files',
  'spec',
  'redisUrl',
];

const WRITTEN_WITHIN_MS = 500;

/**
 * Resolves when what was logged last has left the process. Left to its end, the library would try for ever to reach a
 * reader that is gone.
 */
export function written(log: Log): Promise<void> {
  const stream = Reflect.get(log, symbols.streamSym) as EventEmitter;
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, WRITTEN_WITHIN_MS);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    stream.once('drain', done);
    stream.once('error', done);
  });
}

export const createLog = (level: string): Log =>
  pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: NEVER_LOGGED.flatMap((name) => [name, `*.${name}`]), remove: true },
    },
    destination({ fd: 2, sync: false }),
  );
